"""Correction rounds: no text gets worse, and a biased model improves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from tiny_pretrained import WIDTH, shared_run

from seqvae.inference import load
from seqvae.models.pretrained.recover import cosines, recover

Array = npt.NDArray[np.float32]


def embed(texts: Sequence[str]) -> Array:
    """Three numbers written with spaces."""
    return np.array([[float(word) for word in text.split()] for text in texts], np.float32)


class Shy:
    """Writes whole numbers, and of the last dim only a third."""

    def encode(self, vectors: Array) -> Array:
        """The vector is the code."""
        return vectors

    def decode(self, z: Array) -> list[str]:
        """Rounded, the last one short."""
        return [" ".join(f"{round(float(x))}" for x in (row[0], row[1], row[2] / 3)) for row in z]


def test_the_difference_of_embeddings_is_added() -> None:
    vectors = np.array([[3, 0, 9], [0, 5, 3], [4, 4, 0]], np.float32)
    found = recover(Shy(), vectors, embed, rounds=8)
    assert found.cosines.shape == (9, 3)
    assert bool((np.diff(found.cosines, axis=0) >= 0).all())
    assert bool((found.cosines[-1] > 0.999).all())
    assert bool((found.cosines[0, :2] < 0.999).all())
    for texts, known in zip(found.history, found.cosines, strict=True):
        np.testing.assert_allclose(cosines(embed(texts), vectors), known, rtol=1e-6)
    assert found.texts == found.history[-1]


def test_no_round_leaves_the_first_texts() -> None:
    vectors = np.array([[3, 0, 9]], np.float32)
    found = recover(Shy(), vectors, embed, rounds=0)
    assert found.texts == ["3 0 3"]
    assert found.cosines.shape == (1, 1)


def test_a_run_on_vectors_is_corrected(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = shared_run(tmp_path_factory, "vectors")
    vectors = np.load(run.parent / "vectors.npy")[:4]

    def by_length(texts: Sequence[str]) -> Array:
        return np.array([[len(text) + i for i in range(WIDTH)] for text in texts], np.float32)

    found = recover(load(run), vectors, by_length, rounds=2)
    assert len(found.texts) == 4
    assert bool((np.diff(found.cosines, axis=0) >= 0).all())
