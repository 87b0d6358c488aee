"""The socket of every decoder of pictures, and the heads that make p(x|z) of what it puts out.

Shapes: S samples, B examples, N = S x B rows, D latent dims, C conditions or channels, P numbers a pixel.
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

START = -2.0  # of log-variances and log-scales: a guess in the middle of what pictures need


class Head(nn.Module, ABC):
    """From P numbers a pixel, (S, B, P x C, H, W), to p(x|z)."""

    numbers: int  # P

    @abstractmethod
    def forward(self, raw: Tensor) -> PixelLikelihood:
        """The likelihood, in fp32."""


class BernoulliHead(Head):
    """A logit a pixel."""

    def __init__(self, variance: Variance) -> None:
        super().__init__()
        self.numbers = 1

    def forward(self, raw: Tensor) -> Bernoulli:
        """Bernoulli pixels."""
        return Bernoulli(raw.float())


class SpreadHead(Head, ABC):
    """A location a pixel, squashed into [0, 1], and the log of a spread: one a pixel or one for all."""

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
    learned for each pixel and code, or once for all. Without a code there is one picture for all. A
    condition is read beside the code by the first layer, and scales and shifts every hidden unit or map;
    at first all are deaf to it.
    """

    def __init__(
        self, shape: Shape, inputs: int, likelihood: Kind = "bernoulli", variance: Variance = "global"
    ) -> None:
        super().__init__()
        self.shape = shape
        self.head = HEADS[likelihood](variance)
        self.inputs = max(1, inputs)  # where there is no code, a constant

    @property
    def planes(self) -> int:
        """P x C."""
        return self.head.numbers * self.shape[0]

    @abstractmethod
    def pixel_parameters(self, z: Tensor, c: Tensor | None) -> Tensor:
        """What the head reads, (N, P x C, H, W), of codes (N, `inputs`) with c (N, C), if any, behind."""

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
    """A last layer whose bias starts at zero: nothing is known of the data yet."""
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
