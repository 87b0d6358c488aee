"""Range of rates of a variable-rate latent: encoding as a condition, sampling and bounds.

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
    """Rates R from `low` to `high` nats, encoded as the condition c = ln R scaled to [-1, 1].

    Raises:
        UserError: `low` is above `high`.

    Example:
        >>> RateRange(2, 32).condition(torch.tensor([2.0, 8.0, 32.0]))[:, 0]
        tensor([-1.,  0.,  1.])
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the order of the bounds."""
        if not self.low <= self.high:
            raise UserError(f"nats got [{self.low:g}, {self.high:g}]: give the lower rate first")

    @property
    def geometric_mean(self) -> float:
        """Geometric mean of the bounds, where c = 0."""
        return math.sqrt(self.low * self.high)

    @property
    def half(self) -> float:
        """Half the width of the range in ln R; 0 if it holds a single rate."""
        return 0.5 * math.log(self.high / self.low)

    def condition(self, nats: Tensor) -> Tensor:
        """Condition c (B, 1) of rates (B,) in nats."""
        wide = nats.double()[:, None]
        scaled = torch.log(wide / self.geometric_mean) / self.half if self.half else torch.zeros_like(wide)
        return scaled.float()

    def nats(self, c: Tensor) -> Tensor:
        """Rates (B, 1) in nats of c (B, 1), fp64."""
        return self.geometric_mean * torch.exp(self.half * c.double())

    def sample(self, random: KeyedNoise, draw: RateSampling) -> Tensor:
        """Condition c (B, 1) of one random rate per example, uniform in R or in ln R."""
        chance = random.uniform("rate")
        nats = self.low + chance * (self.high - self.low)
        return self.condition(nats if draw == "uniform" else self.nats(2 * chance - 1))

    def check(self, nats: Tensor) -> None:
        """Reject rates outside the range.

        Raises:
            UserError: there is such a rate.
        """
        # with a tolerance: a rate computed in fp32 from a bound must pass
        out = nats[~((nats >= self.low * (1 - 1e-6)) & (nats <= self.high * (1 + 1e-6)))]
        if len(out):
            raise UserError(
                f"rate got {float(out[0]):g} nats: this run was trained for {self.low:g} to {self.high:g}"
            )
