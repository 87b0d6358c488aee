"""Encoders of vectors (given, or from a frozen model), and trainable pretrained encoders.

Shapes: B examples, K pseudo-inputs, W width of a vector, T tokens, H features.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.data.text.batch import TextBatch
from seqvae.data.text.source import SourceFacts
from seqvae.errors import UserError
from seqvae.interfaces import Encoder
from seqvae.models.pretrained.backbone import Backbone, LoRA, Train
from seqvae.models.pretrained.base import Base, find_base
from seqvae.models.pretrained.sentences import Pooling, recipe_of

Hidden = Annotated[int, Field(ge=0)]


class Standardized(nn.Module):
    """(x - mean) / sd of vectors (B, W), then `layers` layers of `hidden` GELU units.

    Mean and standard deviation are those of the training split, and saved with the weights.
    """

    def __init__(self, source: SourceFacts, hidden: int, layers: int) -> None:
        super().__init__()
        width = source.width
        self.register_buffer("mean", torch.zeros(width) if source.mean is None else source.mean.clone())
        self.register_buffer("sd", torch.ones(width) if source.sd is None else source.sd.clone())
        self.mean: Tensor
        self.sd: Tensor
        widths = [width, *[hidden] * layers] if hidden else [width]
        made: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            made += [nn.Linear(inputs, outputs), nn.GELU()]
        self.layers = nn.Sequential(*made)
        self.out_dim = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(B, out)."""
        if x.shape[-1] != len(self.mean):
            raise UserError(
                f"vectors have {x.shape[-1]} numbers, this model was trained on {len(self.mean)}: give those "
                "of the same embedder"
            )
        return self.read(self.standardized(x))

    def standardized(self, x: Tensor) -> Tensor:
        """(x - mean) / sd, (B, W)."""
        return (x - self.mean) / self.sd

    def read(self, x: Tensor) -> Tensor:
        """(B, out) of vectors that are already standardised."""
        out: Tensor = self.layers(x)
        return out


class VectorEncoder(Encoder):
    """Encodes a given vector per example instead of its text, standardised; `hidden` adds layers.

    Raises:
        UserError: data without vectors.
    """

    paper = "Morris et al., Text Embeddings Reveal (Almost) As Much As Text"
    year = 2023
    own_source: ClassVar[bool] = True

    def __init__(self, source: SourceFacts | None = None, hidden: Hidden = 0, layers: Hidden = 1) -> None:
        super().__init__()
        if source is None or not source.width:
            raise UserError("this encoder reads vectors and the data have none: data.vectors names a matrix")
        self.features = Standardized(source, hidden, layers)
        self.out_dim, self.activation_width = self.features.out_dim, source.width

    def activations(self, batch: TextBatch) -> Tensor:
        """(B, W): the vectors, standardised."""
        return self.features.standardized(batch.source)

    def forward(self, batch: TextBatch) -> Tensor:
        """Features (B, H)."""
        features: Tensor = self.features(batch.source)
        return features

    def pseudo_inputs(self, count: int) -> Tensor:
        """(K, W) samples from N(0, 1), the distribution of standardised vectors."""
        return torch.randn(count, len(self.features.mean))

    def read(self, x: Tensor) -> Tensor:
        """Features (K, H) of pseudo-inputs (K, W)."""
        return self.features.read(x)


class PretrainedEncoder(Encoder):
    """Any encoder of `transformers`, or a sentence-transformers folder, pooled to one vector per sentence.

    If frozen, all vectors are computed before training and the network is not part of this module: they are
    read, standardised, like given vectors. With `train: lora` or `full` it reads its own tokens in each
    batch, and each vector is normalised to mean 0 and variance 1.

    Args:
        model: a Hub id or a folder that `transformers` wrote; `revision` is a commit of the Hub.

    Raises:
        UserError: no such model, or one that cannot be used as an encoder.
    """

    paper = "Reimers & Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks"
    year = 2019
    own_source: ClassVar[bool] = True

    def __init__(
        self,
        model: str,
        source: SourceFacts | None = None,
        revision: str | None = None,
        pooling: Pooling = "auto",
        train: Train = "frozen",
        lora: LoRA = LoRA(),  # noqa: B008
        hidden: Hidden = 0,
        layers: Hidden = 1,
    ) -> None:
        super().__init__()
        if source is None or (train == "frozen") != bool(source.width):
            raise UserError(
                "the data were not read by this encoder: build it with data loaded for this config"
            )
        self.features: Standardized | None = None
        if train == "frozen":
            self.features = Standardized(source, hidden, layers)
            self.out_dim, self.activation_width = self.features.out_dim, source.width
            return
        base = find_base(model, revision)
        recipe = recipe_of(base, pooling)
        network: Any = Base(model, base.folder / recipe.folder).load("AutoModel")
        self.backbone = Backbone(network, train, lora)
        self.head = recipe.head(base)
        width = self._width(network)
        # training changes the scale of vectors, so they cannot be standardised by fixed statistics
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.out_dim = width

    @torch.no_grad()
    def _width(self, network: Any) -> int:
        # measured, because a sentence-transformers head may change the width
        ids = torch.zeros(1, 1, dtype=torch.long)
        states = network(input_ids=ids, attention_mask=ids + 1).last_hidden_state
        return int(self.head(states, ids.bool().logical_not()).shape[1])

    def forward(self, batch: TextBatch) -> Tensor:
        """Features (B, H)."""
        if self.features is not None:
            return self.features(batch.source)  # type: ignore[no-any-return]
        mask = batch.source_mask
        states = self.backbone(input_ids=batch.source, attention_mask=mask.long()).last_hidden_state
        return self.norm(self.head(states.float(), mask))  # type: ignore[no-any-return]

    def activations(self, batch: TextBatch) -> Tensor:
        """(B, W): the vectors of a frozen model, standardised.

        Raises:
            UserError: the model is not frozen.
        """
        return (
            super().activations(batch) if self.features is None else self.features.standardized(batch.source)
        )

    def pseudo_inputs(self, count: int) -> Tensor:
        """(K, W) samples from N(0, 1), for a frozen model.

        Raises:
            UserError: the model is not frozen.
        """
        if self.features is None:
            return super().pseudo_inputs(count)
        return torch.randn(count, len(self.features.mean))

    def read(self, x: Tensor) -> Tensor:
        """Features (K, H) of pseudo-inputs (K, W).

        Raises:
            UserError: the model is not frozen.
        """
        return super().read(x) if self.features is None else self.features.read(x)
