"""Small pure functions: log-mean-exp, masked sums and paths between points.

Shapes: S samples, B examples, T tokens, D latent dims.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)

_static: ContextVar[bool] = ContextVar("static", default=False)


@contextmanager
def static_execution() -> Iterator[None]:
    """Inside, code must not read a value of a tensor on the host: it may be recorded once and replayed."""
    before = _static.set(True)
    try:
        yield
    finally:
        _static.reset(before)


def is_static() -> bool:
    """Whether a shortcut that reads a value on the host is forbidden here, see `static_execution`."""
    return _static.get()


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """(n,) fixed numbers on a device, copied there once: a copy from the host cannot be in a CUDA graph."""
    with torch.inference_mode(False):  # one made under evaluation serves training too
        return torch.tensor(values, dtype=dtype, device=device)


def one_hot(classes: Tensor, count: int) -> Tensor:
    """(..., count) fp32, 1 at each class of (...); unlike torch's function it never looks at the values."""
    return (classes[..., None] == torch.arange(count, device=classes.device)).float()


def as_step(step: Tensor | float) -> Tensor:
    """The number of an update as () fp64, on the device where it lies: schedules are tensors' functions."""
    return step.double() if isinstance(step, Tensor) else torch.tensor(step, dtype=torch.float64)


def log_mean_exp(x: Tensor, dim: int = 0) -> Tensor:
    """Log (1/K) sum_k exp(x_k) along `dim`, without overflow."""
    return torch.logsumexp(x, dim) - math.log(x.shape[dim])


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Sum over the last dim where `mask` is true; what is masked may be anything, NaN included."""
    return x.masked_fill(~mask, 0.0).sum(-1)


def log_sphere_area(dim: int) -> float:
    """Ln of the area of the unit sphere in `dim` dimensions, 2 pi^(D/2) / Gamma(D/2)."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points (T, D) on the straight line from a (D,) to b (D,) at t (T,)."""
    return torch.lerp(a, b, t[:, None])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points (T, D) on the great arc from a to b (White 2016), lengths interpolated too.

    sin((1-t)w)/sin w * a/|a| + sin(tw)/sin w * b/|b|, w the angle between a and b; where that angle
    is 0 or pi the arc is not defined and the straight line is taken.
    """
    norms = a.norm(), b.norm()
    if not (norms[0] > 0 and norms[1] > 0):
        return lerp(a, b, t)
    ua, ub = a / norms[0], b / norms[1]
    angle = torch.arccos((ua @ ub).clamp(-1, 1))
    if torch.sin(angle) < 1e-4:
        return lerp(a, b, t)
    arc: Tensor = torch.sin((1 - t) * angle)[:, None] * ua + torch.sin(t * angle)[:, None] * ub
    return arc / torch.sin(angle) * torch.lerp(norms[0], norms[1], t)[:, None]
