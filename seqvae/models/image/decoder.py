"""Base class of image decoders, and the heads that turn its output into p(x|z).

Shapes: S samples, B examples, N = S x B rows, D latent dims, C conditions or channels, P numbers per pixel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.data.image.batch import ImageBatch
from seqvae.interfaces import Decoder
from seqvae.models.conditioning import concat_condition
from seqvae.models.image.likelihood import (
    LOWEST_LOG_SCALE,
    LOWEST_LOGVAR,
    Bernoulli,
    DiscretizedLogistic,
    Gaussian,
    PixelLikelihood,
    at_least,
)

Shape = tuple[int, int, int]  # channels, height, width
Size = Annotated[int, Field(gt=0)]
Kind = Literal["bernoulli", "gaussian", "logistic"]
Variance = Literal["pixel", "global"]

START = -2.0  # initial log-variance and log-scale, typical for images


class Head(nn.Module, ABC):
    """From P numbers per pixel, (S, B, P x C, H, W), to p(x|z)."""

    numbers: int  # P

    @abstractmethod
    def forward(self, raw: Tensor) -> PixelLikelihood:
        """The likelihood, in fp32."""


class BernoulliHead(Head):
    """One logit per pixel."""

    def __init__(self, variance: Variance) -> None:
        super().__init__()
        self.numbers = 1

    def forward(self, raw: Tensor) -> Bernoulli:
        """Bernoulli pixels."""
        return Bernoulli(raw.float())


class SpreadHead(Head, ABC):
    """A location per pixel in [0, 1] (sigmoid), and a log spread per pixel or one for all pixels."""

    lowest: ClassVar[float]

    def __init__(self, variance: Variance) -> None:
        super().__init__()
        self.numbers = 2 if variance == "pixel" else 1
        self.spread = None if variance == "pixel" else nn.Parameter(torch.zeros(()))

    def split(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Location (S, B, C, H, W) and log spread."""
        if self.spread is None:
            location, spread = raw.float().chunk(2, 2)
        else:
            location, spread = raw.float(), self.spread
        return torch.sigmoid(location), at_least(spread + START, self.lowest)


class GaussianHead(SpreadHead):
    """Mean and log-variance."""

    lowest = LOWEST_LOGVAR

    def forward(self, raw: Tensor) -> Gaussian:
        """Gaussian pixels."""
        return Gaussian(*self.split(raw))


class LogisticHead(SpreadHead):
    """Location and log-scale."""

    lowest = LOWEST_LOG_SCALE

    def forward(self, raw: Tensor) -> DiscretizedLogistic:
        """Pixels of 256 levels."""
        return DiscretizedLogistic(*self.split(raw))


HEADS: dict[str, type[Head]] = {
    "bernoulli": BernoulliHead,
    "gaussian": GaussianHead,
    "logistic": LogisticHead,
}


class ImageDecoder(Decoder[ImageBatch]):
    """p(x|z) = prod over pixels of p(x_i | z).

    `likelihood` is bernoulli, gaussian or logistic; `variance` says whether the spread of the last two is
    predicted per pixel, or a single learned parameter. Without a code (D = 0) p(x) is the same for all.
    A condition is concatenated to the code, and scales and shifts every hidden unit or map (FiLM); all of
    this is initialised to ignore it.
    """

    def __init__(
        self, shape: Shape, inputs: int, likelihood: Kind = "bernoulli", variance: Variance = "global"
    ) -> None:
        super().__init__()
        self.shape = shape
        self.head = HEADS[likelihood](variance)
        self.inputs = max(1, inputs)  # a constant input if there is no code

    @property
    def planes(self) -> int:
        """P x C."""
        return self.head.numbers * self.shape[0]

    @abstractmethod
    def pixel_parameters(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Input (N, P x C, H, W) of the head from codes (N, `inputs`); c (N, C), if any, is appended."""

    def forward(self, z: Tensor, c: Tensor | None = None) -> PixelLikelihood:
        """p(x|z) for z (S, B, D)."""
        if z.shape[-1] == 0:
            z = z.new_ones(*z.shape[:2], 1)
        c = None if c is None else c.expand(len(z), *c.shape)
        raw = self.pixel_parameters(
            concat_condition(z, c).flatten(0, 1), None if c is None else c.flatten(0, 1)
        )
        likelihood: PixelLikelihood = self.head(raw.view(*z.shape[:2], *raw.shape[1:]))
        return likelihood


def zero_init(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """Set the bias of a last layer to zero."""
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
