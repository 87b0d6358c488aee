"""A range of rates as one condition: what it is told as, how it is drawn, what lies outside it.

Shapes: B examples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise

RateSampling = Literal["log_uniform", "uniform"]


@dataclass(frozen=True)
class RateRange:
    """Rates from `low` to `high` nats as a condition c = ln R, scaled to [-1, 1] over the range.

    Raises:
        UserError: a range that is none.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse a range upside down."""
        if not self.low <= self.high:
            raise UserError(f"nats got [{self.low:g}, {self.high:g}]: give the lower rate first")

    @property
    def geometric_mean(self) -> float:
        """The geometric mean, c = 0."""
        return math.sqrt(self.low * self.high)

    @property
    def half(self) -> float:
        """Ln R from the middle to either end; 0 where there is one rate."""
        return 0.5 * math.log(self.high / self.low)

    def condition(self, nats: Tensor) -> Tensor:
        """C (B, 1) of rates (B,)."""
        wide = nats.double()[:, None]
        scaled = torch.log(wide / self.geometric_mean) / self.half if self.half else torch.zeros_like(wide)
        return scaled.float()

    def nats(self, c: Tensor) -> Tensor:
        """Rates (B, 1) of c (B, 1), in fp64."""
        return self.geometric_mean * torch.exp(self.half * c.double())

    def sample(self, random: KeyedNoise, draw: RateSampling) -> Tensor:
        """C (B, 1) of a rate for every example, uniform in R or in ln R."""
        chance = random.uniform("rate")
        nats = self.low + chance * (self.high - self.low)
        return self.condition(nats if draw == "uniform" else self.nats(2 * chance - 1))

    def check(self, nats: Tensor) -> None:
        """Refuse rates beyond the range.

        Raises:
            UserError: such a rate.
        """
        out = nats[~((nats >= self.low * (1 - 1e-6)) & (nats <= self.high * (1 + 1e-6)))]
        if len(out):
            raise UserError(
                f"rate got {float(out[0]):g} nats: this run was trained for {self.low:g} to {self.high:g}"
            )
