"""Permutations that take no memory."""

import numpy as np
import pytest

from seqvae.keyed_noise import keyed_permutation


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 1000, 4097])
def test_every_number_comes_once(size: int) -> None:
    places = np.arange(size, dtype=np.uint64)
    assert sorted(keyed_permutation(places, size, seed=3).tolist()) == list(range(size))
    assert np.array_equal(
        keyed_permutation(places[size // 2 :], size, 3), keyed_permutation(places, size, 3)[size // 2 :]
    )


def test_seeds_give_unrelated_orders() -> None:
    places = np.arange(20_000, dtype=np.uint64)
    orders = [keyed_permutation(places, len(places), seed).astype(float) for seed in (0, 1, 2**40)]
    found = np.corrcoef([places.astype(float), *orders]) - np.eye(4)
    assert np.abs(found).max() < 4 / len(places) ** 0.5
