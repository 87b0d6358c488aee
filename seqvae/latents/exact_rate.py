"""The exact-rate posterior: every example costs exactly R nats, by construction.

Shapes: B examples, D latent dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Latent, PriorDistribution
from seqvae.latents.gaussian import DiagonalNormal, gaussian_kl
from seqvae.numerics import batch_mean

SQRT_2 = 2**0.5
MOMENTUM = 0.1  # of the running statistics that evaluation uses


class _LogVariance(torch.autograd.Function):
    """u = ln sigma^2 with e^u - u = 1 + s^2 and sign(u) = sign(s), by Newton's method in fp64.

    Started where f(u) = e^u - u - 1 - s^2 falls monotonically to its root: from the far side of it.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor) -> Tensor:
        wide = s.double()
        squares = wide**2
        length = torch.log1p(squares)
        below = -(SQRT_2 * wide.abs() + squares)
        above = torch.minimum(SQRT_2 * wide, length + torch.log(2 + length))
        u = torch.where(wide < 0, below, above)
        for _ in range(40):
            slope = torch.expm1(u)
            change = torch.where(slope == 0, 0.0, (slope - u - squares) / torch.where(slope == 0, 1.0, slope))
            u = u - change
            if bool((change.abs() <= 1e-12 * (1 + u.abs())).all()):
                break
        ctx.save_for_backward(wide, u)
        return u.to(s.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        s, u = ctx.saved_tensors
        near = s.abs() < 1e-3  # du/ds = 2 s / (e^u - 1) is 0/0 at 0: its series there
        series = SQRT_2 - 2 * s / 3 + s**2 / (3 * SQRT_2)
        slope = torch.where(near, series, 2 * s / torch.where(near, 1.0, torch.expm1(u)))
        return grads[0] * slope.to(grads[0].dtype)


def log_variance(s: Tensor) -> Tensor:
    """Ln sigma^2 where (sigma^2 - 1 - ln sigma^2) / 2 = s^2 / 2, with sigma < 1 iff s < 0; any shape."""
    out: Tensor = _LogVariance.apply(s)  # type: ignore[no-untyped-call]
    return out


@dataclass(frozen=True)
class ExactNormal(DiagonalNormal):
    """A diagonal normal that knows its KL to N(0, 1) a dim, (m^2 + s^2) / 2, without rounding it twice."""

    kl: Tensor

    def detach(self) -> ExactNormal:
        """The same distribution, without gradients."""
        return ExactNormal(self.mean.detach(), self.logvar.detach(), self.kl.detach())

    def index(self, i: Tensor | slice) -> ExactNormal:
        """The posteriors of the chosen examples."""
        return ExactNormal(self.mean[i], self.logvar[i], self.kl[i])


class ExactRate(Latent):
    """KL(q(z|x) || N(0, I)) = `nats` exactly, for every x.

    Raw features (m, s) in R^2D, m centred over the batch (a shift of all codes costs nats and tells
    nothing), are scaled to norm sqrt(2R); then mu = m and sigma solves sigma^2 - ln sigma^2 = 1 + s^2, so
    that KL = (|m|^2 + |s|^2) / 2. `normalise` says what is R: each `example`, the mean over the `batch`, or
    R / D for each `feature` in the mean over the batch.
    """

    paper = "Slashed Normal: Parameterize Normal Posterior Distributions with KL Amplitude"
    year = 2025
    diagonal = True

    def __init__(
        self,
        features: int,
        dim: Annotated[int, Field(gt=0)] = 32,
        nats: Annotated[float, Field(gt=0)] = 6.0,
        normalise: Literal["example", "batch", "feature"] = "example",
        condition: int = 0,
    ) -> None:
        super().__init__()
        self.dim, self.nats, self.normalise = dim, nats, normalise
        self.raw = nn.Linear(features + condition, 2 * dim)
        self.register_buffer("centre", torch.zeros(1, dim))
        self.register_buffer("power", torch.ones(1, 2 * dim))  # running mean squares of the raw features
        self.centre: Tensor
        self.power: Tensor

    def posterior(self, h: Tensor, c: Tensor | None = None) -> ExactNormal:
        """q(z|x) from h (B, H)."""
        raw = self.raw(h if c is None else torch.cat([h, c], -1))
        m, s = self._scaled(self._centred(raw)).chunk(2, -1)
        return ExactNormal(m, log_variance(s), 0.5 * (m**2 + s**2))

    def kl(self, q: ExactNormal, p: PriorDistribution, z: Tensor) -> Tensor:
        """(1, B, D) under the standard prior, else (S, B, 1) from the samples."""
        return q.kl[None] if getattr(p, "is_standard", False) else gaussian_kl(q, p, z)

    def _centred(self, raw: Tensor) -> Tensor:
        """M without its mean: the batch's in training, the running one otherwise or for a batch of one."""
        m, s = raw.chunk(2, -1)
        if self.training and len(raw) > 1:
            centre = batch_mean(m)
            self.centre.lerp_(centre.detach(), MOMENTUM)
        else:
            centre = self.centre
        return torch.cat([m - centre, s], -1)

    def _scaled(self, v: Tensor) -> Tensor:
        """(B, 2D) scaled so that half its square norm is R."""
        if self.normalise == "example":
            return torch.mul(unit(v), (2 * self.nats) ** 0.5)
        power = self._power(v)
        if self.normalise == "batch":
            return torch.mul(v, (2 * self.nats / power.sum()).sqrt())
        m, s = power.chunk(2, -1)
        scale = (2 * self.nats / self.dim / (m + s)).sqrt()  # (1, D)
        return torch.mul(v, torch.cat([scale, scale], -1))

    def _power(self, v: Tensor) -> Tensor:
        """Mean squares (1, 2D): the batch's in training, the running ones otherwise."""
        if not self.training:
            return self.power
        power = batch_mean(v**2) + torch.finfo(v.dtype).tiny
        self.power.lerp_(power.detach(), MOMENTUM)
        return power


def unit(v: Tensor) -> Tensor:
    """V / |v| along the last dim for any finite v; the zero vector becomes a fixed direction."""
    largest = v.abs().amax(-1, keepdim=True)
    tiny = torch.finfo(v.dtype).tiny
    fixed = torch.full_like(v, v.shape[-1] ** -0.5)
    safe = torch.where(largest > tiny, v / largest.clamp(min=tiny), fixed)  # its squares stay in range
    direction: Tensor = safe / safe.norm(dim=-1, keepdim=True)
    return direction
