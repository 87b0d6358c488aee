"""Permutations that take no memory."""

import numpy as np
import pytest

from seqvae.keyed import permuted


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 1000, 4097])
def test_every_number_comes_once(size: int) -> None:
    places = np.arange(size, dtype=np.uint64)
    assert sorted(permuted(places, size, seed=3).tolist()) == list(range(size))
    assert np.array_equal(permuted(places[size // 2 :], size, 3), permuted(places, size, 3)[size // 2 :])


def test_seeds_give_unrelated_orders() -> None:
    places = np.arange(20_000, dtype=np.uint64)
    orders = [permuted(places, len(places), seed).astype(float) for seed in (0, 1, 2**40)]
    found = np.corrcoef([places.astype(float), *orders]) - np.eye(4)
    assert np.abs(found).max() < 4 / len(places) ** 0.5
