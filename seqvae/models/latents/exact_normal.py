"""Diagonal normals of a given KL to N(0, I): ln sigma^2 solved from its share of the nats, and their KL.

Shapes: D latent dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqvae.interfaces import register_kl
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.models.priors.standard import StandardNormal

SQRT_2 = 2**0.5
NEWTON_STEPS = 10  # 8 reach 1e-12 for every |s| from 1e-20 to 1e3


class _LogVariance(torch.autograd.Function):
    """u = ln sigma^2 with e^u - u = 1 + s^2 and sign(u) = sign(s), by Newton's method in fp64.

    f(u) = e^u - u - 1 - s^2 is convex, so that from a start beyond the root, where f > 0, Newton's method
    converges monotonically.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor) -> Tensor:
        wide = s.double()
        squares = wide**2
        length = torch.log1p(squares)
        below = -(SQRT_2 * wide.abs() + squares)
        above = torch.minimum(SQRT_2 * wide, length + torch.log(2 + length))
        u = torch.where(wide < 0, below, above)
        for _ in range(NEWTON_STEPS):  # a fixed number: a test of convergence would wait for the GPU
            slope = torch.expm1(u)
            change = torch.where(slope == 0, 0.0, (slope - u - squares) / torch.where(slope == 0, 1.0, slope))
            u = u - change
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
    """Ln sigma^2 where (sigma^2 - 1 - ln sigma^2) / 2 = s^2 / 2, with sigma < 1 iff s < 0; any shape.

    Example:
        >>> u = log_variance(torch.tensor([-1.0, 0.0, 1.0]))
        >>> torch.allclose(u.exp() - u - 1, torch.tensor([1.0, 0.0, 1.0]))  # s^2
        True
    """
    out: Tensor = _LogVariance.apply(s)  # type: ignore[no-untyped-call]
    return out


@dataclass(frozen=True)
class ExactNormal(DiagonalNormal):
    """A diagonal normal that stores its KL to N(0, 1) per dim, (m^2 + s^2) / 2, not rounded twice."""

    kl: Tensor

    def detach(self) -> ExactNormal:
        """The same distribution, without gradients."""
        return ExactNormal(self.mean.detach(), self.logvar.detach(), self.kl.detach())

    def select(self, i: Tensor | slice) -> ExactNormal:
        """The posteriors of the examples with indices `i`."""
        return ExactNormal(self.mean[i], self.logvar[i], self.kl[i])


@register_kl(ExactNormal, StandardNormal)
def _stored_kl(q: ExactNormal, p: StandardNormal) -> Tensor:
    return q.kl


def unit_vector(v: Tensor) -> Tensor:
    """V / |v| along the last dim for any finite v; the zero vector becomes a fixed direction.

    Example:
        >>> unit_vector(torch.tensor([[3e30, 4e30], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.7071, 0.7071]])
    """
    largest = v.abs().amax(-1, keepdim=True)
    tiny = torch.finfo(v.dtype).tiny
    fixed = torch.full_like(v, v.shape[-1] ** -0.5)
    safe = torch.where(largest > tiny, v / largest.clamp(min=tiny), fixed)  # or squares would overflow
    direction: Tensor = safe / safe.norm(dim=-1, keepdim=True)
    return direction
