"""Counter-based random numbers: noise and permutations as pure functions of a key, without state.

Shapes: B examples, n places.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqvae.distributed.batch_shards import all_gather_rows

Unsigned = npt.NDArray[np.uint64]


Signed = npt.NDArray[np.int64]


GOLDEN = 0x9E3779B97F4A7C15  # the increment of SplitMix64


_ODD = 0xD1342543DE82EF95


def keyed_permutation(places: Unsigned, size: int, seed: int) -> Unsigned:
    """(n,) different numbers below `size` for different places below it: a keyed permutation.

    A four-round Feistel network on the next even number of bits, walked until it falls inside (Black and
    Rogaway 2002, "Ciphers with arbitrary finite domains", the cycle-walking cipher).
    """
    half = (max(size - 1, 1).bit_length() + 1) // 2  # bits
    values = _feistel(places, half, seed)
    while (outside := values >= size).any():
        values[outside] = _feistel(values[outside], half, seed)
    return values


def _feistel(values: Unsigned, half: int, seed: int) -> Unsigned:
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & mask
    for turn in range(4):
        key = np.uint64((seed * 4 + turn + 1) * GOLDEN % 2**64)
        left, right = right, left ^ (mix(right + key) & mask)
    return (left << shift) | right


def mix(x: Unsigned) -> Unsigned:
    """The finaliser of SplitMix64 (Steele 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def content_keys(values: npt.NDArray[np.integer[Any]], lengths: npt.NDArray[np.integer[Any]]) -> Signed:
    """(B,) a 64-bit hash of each row of numbers, by which the noise of an example is keyed at use.

    The rows follow one another in `values`, with `lengths` (B,) numbers each: sum_p mix(v_p, p), mixed again
    with the length. The same numbers give the same key, in whatever row and beside whatever others.
    """
    starts = np.cumsum(lengths) - lengths
    places = np.arange(len(values)) - np.repeat(starts, lengths)
    hashed = mix(
        (values.astype(np.uint64) + np.uint64(1)) * np.uint64(_ODD)
        + (places.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    )
    ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashed, dtype=np.uint64)])  # sums wrap: no harm
    sums = ends[starts + lengths] - ends[starts]
    return mix(sums + lengths.astype(np.uint64) * np.uint64(GOLDEN)).view(np.int64)


def draw_keys(keys: Signed) -> Signed:
    """(B,) keys that differ where `keys` agree: the n-th row of a content gets the n-th draw of its own.

    The first of them keeps its key. The draws that a content gets do not depend on where its rows stand.
    """
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    first = np.concatenate([[True], in_order[1:] != in_order[:-1]]) if len(keys) else np.zeros(0, bool)
    places = np.arange(len(keys))
    number = np.empty(len(keys), np.uint64)
    number[order] = places - np.maximum.accumulate(np.where(first, places, 0))
    moved = mix(keys.view(np.uint64) + number * np.uint64(GOLDEN)).view(np.int64)
    return np.where(number == 0, keys, moved)


def keys_of_codes(z: Tensor) -> Signed:
    """(N,) the key of each code of z (N, D), by its bits in fp32."""
    bits = z.detach().cpu().float().contiguous().numpy().view(np.uint32)
    return content_keys(bits.reshape(-1), np.full(len(bits), bits.shape[1]))


def _mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele 2014) on int64, whose products wrap as they must."""
    x = (x ^ _shift_right(x, 30)) * -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
    x = (x ^ _shift_right(x, 27)) * -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """X >> bits with zeros moved in, as for unsigned numbers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


_GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15, the increment of SplitMix64


@dataclass(frozen=True)
class KeyedNoise:
    """Noise as a pure function of (seed, step, stream, example, place).

    It does not depend on how examples are batched, padded, ordered or spread over processes and
    devices, and needs no generator state to resume. `index` (B,) numbers the examples; each use names
    its own `stream`, so that one more user of noise changes nobody else's. `step` may be a tensor () of
    int64 on the device of `index`: a captured update then draws anew at each replay.
    """

    seed: int
    step: int | Tensor
    index: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> KeyedNoise:
        """The same noise, drawn on another device."""
        step = self.step
        if isinstance(step, Tensor):
            step = step.to(device, non_blocking=non_blocking)
        return replace(self, index=self.index.to(device, non_blocking=non_blocking), step=step)

    def fold(self, number: int) -> KeyedNoise:
        """Fresh, independent noise for the same examples: one more chunk of samples, say."""
        return replace(self, seed=(self.seed * 0x5DEECE66D + number + 11) % 2**62)

    def all_gather(self) -> KeyedNoise:
        """The noise of all examples of the global batch, of which these are one process's."""
        return replace(self, index=all_gather_rows(self.index))

    def for_n(self, n: int) -> KeyedNoise:
        """The noise of n things: the examples themselves where there are n, else things numbered from 0."""
        if len(self.index) == n:
            return self
        return replace(self, index=torch.arange(n, device=self.index.device))

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """(B, *shape) draws from the open interval (0, 1)."""
        places = 1
        for size in shape:
            places *= size
        bits = self._bits(stream, places).view(len(self.index), *shape)
        return (_shift_right(bits, 41).float() + 0.5) * 2.0**-23  # 24 bits would round up to 1

    def normal(self, stream: str, *shape: int) -> Tensor:
        """(B, *shape) draws from N(0, 1), by Box and Muller's transform."""
        u, v = self.uniform(f"{stream}/radius", *shape), self.uniform(f"{stream}/angle", *shape)
        return torch.sqrt(-2 * torch.log(u)) * torch.cos(2 * torch.pi * v)

    def _bits(self, stream: str, places: int) -> Tensor:
        device = self.index.device
        words = (self.seed, self.step, zlib.crc32(stream.encode()))
        key = torch.zeros((), dtype=torch.long, device=device)
        for word in words:
            key = _mix((key ^ word) + _GOLDEN)
        rows = _mix((self.index ^ key) + _GOLDEN)
        steps = torch.arange(1, places + 1, device=device) * _GOLDEN
        return _mix(rows[:, None] + steps)
