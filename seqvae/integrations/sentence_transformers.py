"""A text run as a sentence-transformers model: `SentenceTransformer(run, trust_remote_code=True)`.

Shapes: B sentences, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from seqvae.data.text.batch import TextBatch
from seqvae.errors import UserError
from seqvae.inference import TextVAE
from seqvae.interfaces import point_estimate
from seqvae.keyed_noise import KeyedNoise

_TENSORS = tuple(f.name for f in fields(TextBatch) if f.type == "Tensor")


class TextVAEModule(InputModule):  # type: ignore[misc,unused-ignore]
    """The only module of the model: texts to codes; `encode(texts, rate=8)` sets a rate in nats.

    Raises:
        UserError: the run has no code, or its encoder reads vectors.
    """

    forward_kwargs: ClassVar[set[str]] = {"rate"}  # type: ignore[misc,unused-ignore]

    def __init__(self, vae: TextVAE) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        if not vae.latent_dim or vae.reads_vectors:
            reason = "its encoder reads vectors" if vae.latent_dim else "latent: none has no code"
            raise UserError(f"{vae.run.path} encodes no sentences, {reason}")
        self.face, self.model = vae, vae.vae

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, Tensor | Any]:
        """The tensors of a batch of B sentences."""
        texts = [f"{prompt or ''}{text}" for text in inputs]
        batch = next(iter(self.face.batches(texts, batch_size=len(texts))))
        return {name: getattr(batch, name) for name in _TENSORS}

    def forward(
        self, features: dict[str, Tensor | Any], rate: float | None = None, **kwargs: Any
    ) -> dict[str, Tensor | Any]:
        """`sentence_embedding` (B, D): the point estimate (mean or mode) of q(z|x); differentiable."""
        index = features["index"]
        given = {name: features[name] for name in _TENSORS}
        batch = TextBatch(**given, special=self.face.tokenizer.special, random=KeyedNoise(0, 0, index))
        if rate is not None:
            nats = torch.full((batch.size,), float(rate), device=index.device)
            batch = batch.replace(condition=self.model.latent.rate_condition(nats))
        return {**features, "sentence_embedding": point_estimate(self.model.posterior(batch))}

    def get_embedding_dimension(self) -> int:
        """D, the latent dim."""
        return self.face.latent_dim

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Copy the run's files to `output_path`."""
        self.face._save_pretrained(Path(output_path))

    @classmethod
    def load(  # type: ignore[override,unused-ignore]
        cls, model_name_or_path: str, subfolder: str = "", **options: Any
    ) -> TextVAEModule:
        """Load a run folder or Hub id."""
        names = {"cache_folder": "cache_dir", "token": "token", "revision": "revision"}
        given = {ours: options[theirs] for theirs, ours in names.items() if options.get(theirs) is not None}
        return cls(TextVAE.from_pretrained(model_name_or_path, **given))


def load(run: str | Path, device: str | None = None) -> SentenceTransformer:
    """Load a run as a `SentenceTransformer`; needs no `trust_remote_code`.

    Raises:
        UserError: not a text run, or one that does not encode sentences.
    """
    return SentenceTransformer(modules=[TextVAEModule(TextVAE.from_pretrained(run))], device=device)


__all__ = ["TextVAEModule", "load"]
