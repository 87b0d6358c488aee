"""Small pure functions that several floors share: means, masks, paths, keyed noise.

Shapes: S samples, B examples, T tokens, D latent dims.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from seqvae.shares import gathered, pooled

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


def batch_mean(x: Tensor) -> Tensor:
    """Mean over the global batch (dim 0), kept as a dim of 1: where batch statistics are taken."""
    return pooled(x.mean(0, keepdim=True))


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


def _mixed(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele 2014) on int64, whose products wrap as they must."""
    x = (x ^ _shifted(x, 30)) * -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
    x = (x ^ _shifted(x, 27)) * -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """X >> bits with zeros moved in, as for unsigned numbers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _unit_interval(bits: Tensor) -> Tensor:
    """The upper 23 bits as a number of the open interval (0, 1): 24 bits would round up to 1."""
    return (_shifted(bits, 41).float() + 0.5) * 2.0**-23


_GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15, the increment of SplitMix64


@dataclass(frozen=True)
class Randomness:
    """Noise as a pure function of (seed, step, stream, example, place).

    It does not depend on how examples are batched, padded, ordered or spread over processes and
    devices, and needs no generator state to resume. `index` (B,) numbers the examples; each use names
    its own `stream`, so that one more user of noise changes nobody else's. `step` may be a tensor () of
    int64 on the device of `index`: a captured update then draws anew at each replay.
    """

    seed: int
    step: int | Tensor
    index: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Randomness:
        """The same noise, drawn on another device."""
        step = self.step
        if isinstance(step, Tensor):
            step = step.to(device, non_blocking=non_blocking)
        return replace(self, index=self.index.to(device, non_blocking=non_blocking), step=step)

    def fold(self, number: int) -> Randomness:
        """Fresh, independent noise for the same examples: one more chunk of samples, say."""
        return replace(self, seed=(self.seed * 0x5DEECE66D + number + 11) % 2**62)

    def gathered(self) -> Randomness:
        """The noise of all examples of the global batch, of which these are one process's."""
        return replace(self, index=gathered(self.index))

    def rows(self, n: int) -> Randomness:
        """The noise of n things: the examples themselves where there are n, else things numbered from 0."""
        if len(self.index) == n:
            return self
        return replace(self, index=torch.arange(n, device=self.index.device))

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """(B, *shape) draws from the open interval (0, 1)."""
        places = 1
        for size in shape:
            places *= size
        return _unit_interval(self._bits(stream, places).view(len(self.index), *shape))

    def uniforms(self, streams: Sequence[str]) -> Tensor:
        """(B, S): a draw of each of S streams, that of `uniform(stream)`, all of them made at once."""
        words = torch.tensor([zlib.crc32(stream.encode()) for stream in streams], device=self.index.device)
        rows = _mixed((self.index[:, None] ^ self._key(words)) + _GOLDEN)
        return _unit_interval(_mixed(rows + _GOLDEN))

    def normal(self, stream: str, *shape: int) -> Tensor:
        """(B, *shape) draws from N(0, 1), by Box and Muller's transform."""
        u, v = self.uniform(f"{stream}/radius", *shape), self.uniform(f"{stream}/angle", *shape)
        return torch.sqrt(-2 * torch.log(u)) * torch.cos(2 * torch.pi * v)

    def _bits(self, stream: str, places: int) -> Tensor:
        rows = _mixed((self.index ^ self._key(zlib.crc32(stream.encode()))) + _GOLDEN)
        steps = torch.arange(1, places + 1, device=self.index.device) * _GOLDEN
        return _mixed(rows[:, None] + steps)

    def _key(self, stream: int | Tensor) -> Tensor:
        """The key () of a stream's number, or of several (S,)."""
        key = torch.zeros((), dtype=torch.long, device=self.index.device)
        for word in (self.seed, self.step, stream):
            key = _mixed((key ^ word) + _GOLDEN)
        return key
