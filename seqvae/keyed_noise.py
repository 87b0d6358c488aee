"""Counter-based random numbers: noise and permutations as pure functions of a key, without state.

Shapes: B examples, n positions.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import index as to_int
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqvae.distributed.batch_shards import all_gather_rows
from seqvae.errors import UserError

Unsigned = npt.NDArray[np.uint64]


Signed = npt.NDArray[np.int64]


GOLDEN = 0x9E3779B97F4A7C15  # the increment of SplitMix64


_ODD = 0xD1342543DE82EF95  # decorrelates values from positions


def keyed_permutation(places: Unsigned, size: int, seed: int) -> Unsigned:
    """Values at `places` of a pseudorandom permutation of 0 .. size - 1, without storing the permutation.

    A four-round Feistel network on the next even number of bits, applied until the value lies below `size`
    (Black and Rogaway 2002, "Ciphers with arbitrary finite domains", the cycle-walking cipher).

    Args:
        places: positions (n,) uint64, each below `size`.
        size: length of the permutation.
        seed: key of the permutation.

    Returns:
        (n,) uint64, each below `size`; different positions give different values.

    Example:
        >>> sorted(keyed_permutation(np.arange(5, dtype=np.uint64), size=5, seed=0).tolist())
        [0, 1, 2, 3, 4]
    """
    half = (max(size - 1, 1).bit_length() + 1) // 2  # bits
    values = _feistel(places, half, seed)
    while (outside := values >= size).any():
        values[outside] = _feistel(values[outside], half, seed)  # ends: every cycle of a bijection closes
    return values


def _feistel(values: Unsigned, half: int, seed: int) -> Unsigned:
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & mask
    for number in range(4):
        key = np.uint64((seed * 4 + number + 1) * GOLDEN % 2**64)
        left, right = right, left ^ (mix(right + key) & mask)
    return (left << shift) | right


def mix(x: Unsigned) -> Unsigned:
    """The finaliser of SplitMix64 (Steele 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hash_content(values: npt.NDArray[np.integer[Any]], lengths: npt.NDArray[np.integer[Any]]) -> Signed:
    """(B,) 64-bit hash of each row of numbers, which keys the noise of an example outside training.

    The hash is the sum over positions p of mix(v_p, p), mixed again with the length, so that it depends
    neither on the position of the row nor on other rows.

    Args:
        values: the concatenated rows.
        lengths: number of values per row (B,).
    """
    starts = np.cumsum(lengths) - lengths
    places = np.arange(len(values)) - np.repeat(starts, lengths)
    hashed = mix(
        (values.astype(np.uint64) + np.uint64(1)) * np.uint64(_ODD)
        + (places.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    )
    # sums wrap modulo 2^64, and so do their differences
    ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashed, dtype=np.uint64)])
    sums = ends[starts + lengths] - ends[starts]
    return mix(sums + lengths.astype(np.uint64) * np.uint64(GOLDEN)).view(np.int64)


def distinguish_repeats(keys: Signed) -> Signed:
    """(B,) distinct keys: the n-th row with the same key gets the n-th variant of that key.

    The first variant is the key itself. The set of variants does not depend on the order of rows.
    """
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    first = np.concatenate([[True], in_order[1:] != in_order[:-1]]) if len(keys) else np.zeros(0, bool)
    places = np.arange(len(keys))
    number = np.empty(len(keys), np.uint64)
    number[order] = places - np.maximum.accumulate(np.where(first, places, 0))
    changed = mix(keys.view(np.uint64) + number * np.uint64(GOLDEN)).view(np.int64)
    return np.where(number == 0, keys, changed)


def hash_codes(z: Tensor) -> Signed:
    """(N,) hash of each code of z (N, D), from its bits in fp32."""
    bits = z.detach().cpu().float().contiguous().numpy().view(np.uint32)
    return hash_content(bits.reshape(-1), np.full(len(bits), bits.shape[1]))


def _mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele 2014) on int64, whose products wrap like those of uint64."""
    x = (x ^ _shift_right(x, 30)) * -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
    x = (x ^ _shift_right(x, 27)) * -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
    return x ^ _shift_right(x, 31)


def _mix_int(x: int) -> int:
    """The same for one number; on a GPU this saves a dozen launches."""
    x %= 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    x ^= x >> 31
    return x - 2**64 if x >= 2**63 else x  # as int64


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift: zeros are shifted in, where >> on int64 repeats the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


_GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15, the increment of SplitMix64


@dataclass(frozen=True)
class KeyedNoise:
    """Noise as a pure function of (seed, step, stream, example, position).

    It does not depend on how examples are batched, padded, ordered or sharded over ranks and devices, and
    resuming needs no generator state. Every use names its own `stream`, so that an additional use does not
    change the noise of the others.

    Args:
        seed: seed of the run.
        step: number of the update; as an int64 tensor () on the device of `index`, a captured update draws
            new noise at each replay.
        index: (B,) int64, the position of each example in its data set.

    Example:
        >>> noise = KeyedNoise(seed=0, step=3, index=torch.tensor([7, 9]))
        >>> noise.normal("posterior", 4).shape
        torch.Size([2, 4])
        >>> alone = KeyedNoise(seed=0, step=3, index=torch.tensor([9]))
        >>> torch.equal(noise.uniform("dropout", 5)[1:], alone.uniform("dropout", 5))
        True
    """

    seed: int
    step: int | Tensor
    index: Tensor

    def __post_init__(self) -> None:
        """Take any whole number as the seed, also one of numpy, whose products would overflow.

        Raises:
            UserError: no whole number.
        """
        if type(self.seed) is int:
            return
        if not isinstance(self.seed, SupportsIndex):
            raise UserError(f"seed got {self.seed!r}: give a whole number")
        object.__setattr__(self, "seed", to_int(self.seed))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> KeyedNoise:
        """The same noise, computed on `device`."""
        step = self.step
        if isinstance(step, Tensor):
            step = step.to(device, non_blocking=non_blocking)
        return replace(self, index=self.index.to(device, non_blocking=non_blocking), step=step)

    def fold(self, number: int) -> KeyedNoise:
        """Independent noise for the same examples, one per `number`; for a further chunk of samples, say."""
        return replace(self, seed=(self.seed * 0x5DEECE66D + number + 11) % 2**62)

    def all_gather(self) -> KeyedNoise:
        """The noise of all examples of the global batch, gathered from all ranks."""
        return replace(self, index=all_gather_rows(self.index))

    def for_n(self, n: int) -> KeyedNoise:
        """Noise of `n` rows: of the examples themselves where there are n, else of rows numbered from 0."""
        if len(self.index) == n:
            return self
        return replace(self, index=torch.arange(n, device=self.index.device))

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """(B, *shape) uniform samples from the open interval (0, 1), fp32."""
        places = 1
        for size in shape:
            places *= size
        return _unit_interval(self._bits(stream, places).view(len(self.index), *shape))

    def uniforms(self, streams: Sequence[str]) -> Tensor:
        """(B, S): `uniform(stream)` for each of S streams, computed at once."""
        words = torch.tensor([zlib.crc32(stream.encode()) for stream in streams], device=self.index.device)
        rows = _mix((self.index[:, None] ^ self._stream_key(words)) + _GOLDEN)
        return _unit_interval(_mix(rows + _GOLDEN))

    def normal(self, stream: str, *shape: int) -> Tensor:
        """(B, *shape) samples from N(0, 1) by the Box-Muller transform, fp32."""
        u, v = self.uniform(f"{stream}/radius", *shape), self.uniform(f"{stream}/angle", *shape)
        return torch.sqrt(-2 * torch.log(u)) * torch.cos(2 * torch.pi * v)

    def _bits(self, stream: str, places: int) -> Tensor:
        rows = _mix((self.index ^ self._stream_key(zlib.crc32(stream.encode()))) + _GOLDEN)
        steps = torch.arange(1, places + 1, device=self.index.device) * _GOLDEN
        return _mix(rows[:, None] + steps)

    def _stream_key(self, stream: int | Tensor) -> int | Tensor:
        """The key () of a stream, given as the checksum of its name, or the keys (S,) of several.

        It is computed on the host unless the step is a tensor.
        """
        key: int | Tensor = 0
        for word in (self.seed, self.step, stream):
            combined = (key ^ word) + _GOLDEN
            key = _mix(combined) if isinstance(combined, Tensor) else _mix_int(combined)
        return key


def _unit_interval(bits: Tensor) -> Tensor:
    """The upper 23 bits as a number in the open interval (0, 1): 24 bits would round up to 1."""
    return (_shift_right(bits, 41).float() + 0.5) * 2.0**-23
