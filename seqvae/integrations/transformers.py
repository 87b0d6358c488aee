"""A text run as a transformers model: `AutoModel.from_pretrained(run, trust_remote_code=True)`.

Shapes: B sentences, T tokens, D latent dims.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from seqvae.errors import UserError
from seqvae.inference import TextVAE
from seqvae.interfaces import point_estimate
from seqvae.runs.modules_file import MODEL_TYPE


class SeqVAEConfig(PreTrainedConfig):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """The config.json of a run as a transformers config."""

    model_type = MODEL_TYPE


class SeqVAEModel(PreTrainedModel):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """Token ids of the run's own tokenizer to codes: point estimates of q(z|x)."""

    config_class = SeqVAEConfig
    base_model_prefix = "vae"

    def __init__(self, config: SeqVAEConfig, face: TextVAE | None = None) -> None:
        super().__init__(config)
        if face is None:
            raise UserError("a run is loaded with its weights: use AutoModel.from_pretrained(folder)")
        if not face.latent_dim or face.reads_vectors:
            raise UserError(f"{face.run.path} encodes no sentences: it has no code, or reads vectors")
        self.face, self.vae = face, face.vae

    @classmethod
    def from_pretrained(  # type: ignore[override,unused-ignore]
        cls,
        pretrained_model_name_or_path: Any,
        *args: Any,
        config: SeqVAEConfig | None = None,
        **options: Any,
    ) -> Self:
        """Load a run folder or Hub id; every weight must be present.

        Raises:
            UserError: no such run, or one that does not encode sentences.
        """
        hub = {k: options[k] for k in ("revision", "token", "cache_dir") if options.get(k) is not None}
        face = TextVAE.from_pretrained(pretrained_model_name_or_path, **hub)
        model = cls(config or SeqVAEConfig(), face)
        model.train(False)
        return model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        rate: float | None = None,
        **ignored: Any,
    ) -> BaseModelOutputWithPooling:
        """`pooler_output` (B, D), and `last_hidden_state` (B, 1, D), the same as a sequence of one."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        rows = zip(input_ids.tolist(), mask.tolist(), strict=True)
        texts = self.face.tokenizer.decode_batch([i for i, m in zip(*row, strict=True) if m] for row in rows)
        batch = next(iter(self.face.batches(texts, batch_size=len(texts)))).to(input_ids.device)
        if rate is not None:
            nats = torch.full((batch.size,), float(rate), device=input_ids.device)
            batch = batch.replace(condition=self.vae.latent.rate_condition(nats))
        z = point_estimate(self.vae.posterior(batch))
        return BaseModelOutputWithPooling(last_hidden_state=z[:, None], pooler_output=z)
