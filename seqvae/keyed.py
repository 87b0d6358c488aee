"""Keyed hashes: permutations that take no memory, and keys of what an example holds.

Shapes: n places, B examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Unsigned = npt.NDArray[np.uint64]
Signed = npt.NDArray[np.int64]

GOLDEN = 0x9E3779B97F4A7C15  # the increment of SplitMix64
_ODD = 0xD1342543DE82EF95


def permuted(places: Unsigned, size: int, seed: int) -> Unsigned:
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
        left, right = right, left ^ (mixed(right + key) & mask)
    return (left << shift) | right


def mixed(x: Unsigned) -> Unsigned:
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
    hashed = mixed(
        (values.astype(np.uint64) + np.uint64(1)) * np.uint64(_ODD)
        + (places.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    )
    ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashed, dtype=np.uint64)])  # sums wrap: no harm
    sums = ends[starts + lengths] - ends[starts]
    return mixed(sums + lengths.astype(np.uint64) * np.uint64(GOLDEN)).view(np.int64)


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
    moved = mixed(keys.view(np.uint64) + number * np.uint64(GOLDEN)).view(np.int64)
    return np.where(number == 0, keys, moved)


def keys_of_codes(z: Tensor) -> Signed:
    """(N,) the key of each code of z (N, D), by its bits in fp32."""
    bits = z.detach().cpu().float().contiguous().numpy().view(np.uint32)
    return content_keys(bits.reshape(-1), np.full(len(bits), bits.shape[1]))
