"""Shuffles that take no memory: each place of a permutation is a function of the place and a seed.

Shapes: n places.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Unsigned = npt.NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15  # the increment of SplitMix64


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
