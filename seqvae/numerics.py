"""Numerical helpers: log-mean-exp, masked sums, interpolation, and constants for captured updates.

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
    """Context in which no code may read a tensor's value on the host, as in CUDA graph capture."""
    before = _static.set(True)
    try:
        yield
    finally:
        _static.reset(before)


def is_static() -> bool:
    """Whether reading a tensor's value on the host is forbidden here, see `static_execution`."""
    return _static.get()


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """(n,) constants on `device`, copied there once: a CUDA graph cannot contain a copy from the host."""
    with torch.inference_mode(False):  # one cached during evaluation is used in training too
        return torch.tensor(values, dtype=dtype, device=device)


def one_hot(classes: Tensor, count: int) -> Tensor:
    """(..., count) fp32 from class indices (...); torch's function checks the values on the host."""
    return (classes[..., None] == torch.arange(count, device=classes.device)).float()


def as_step(step: Tensor | float) -> Tensor:
    """The number of an update as an fp64 tensor () on its device, as schedules compute with it."""
    return step.double() if isinstance(step, Tensor) else torch.tensor(step, dtype=torch.float64)


def log_mean_exp(x: Tensor, dim: int = 0) -> Tensor:
    """Log (1/K) sum_k exp(x_k) along `dim`, without overflow.

    Example:
        >>> log_mean_exp(torch.tensor([1000.0, 1000.0]))
        tensor(1000.)
    """
    return torch.logsumexp(x, dim) - math.log(x.shape[dim])


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Sum over the last dim where `mask` is true; masked entries may have any value, NaN included."""
    return x.masked_fill(~mask, 0.0).sum(-1)  # not x * mask: NaN * 0 is NaN


def log_sphere_area(dim: int) -> float:
    """Ln of the area of the unit sphere in `dim` dimensions, 2 pi^(D/2) / Gamma(D/2)."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points (T, D) on the straight line from a (D,) to b (D,) at t (T,).

    Example:
        >>> lerp(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 4.0]), torch.tensor([0.0, 0.5]))
        tensor([[0., 0.],
                [1., 2.]])
    """
    return torch.lerp(a, b, t[:, None])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points (T, D) on the great arc from a (D,) to b (D,) at t (T,), lengths interpolated linearly.

    sin((1-t)w)/sin w * a/|a| + sin(tw)/sin w * b/|b| with w the angle between a and b (White 2016). Where w
    is 0 or pi, or a vector is zero, the arc is undefined and the straight line is used.

    Example:
        >>> path = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.linspace(0, 1, 3))
        >>> torch.allclose(path.norm(dim=-1), torch.ones(3))
        True
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
