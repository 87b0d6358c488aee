"""How often sentences repeat their own 4-grams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seqvae.data.text.repetition import LOOKED_AT, most_repeated, repeating_share, usual_repeats


def test_known_counts() -> None:
    assert most_repeated("CCC") == 0
    assert most_repeated("CCCC") == 1
    assert most_repeated("C" * 10) == 7
    assert most_repeated(["a", "b", "c", "d", "a", "b", "c", "d"]) == 2
    assert most_repeated([1, 2, 1, 2, 1, 2, 1, 2], order=2) == 4


def test_the_share_of_sentences_that_repeat() -> None:
    assert repeating_share([]) is None
    assert repeating_share(["C" * 6, "C" * 5, "abcdef", ""]) == 0.25


class Rows:
    """Sentences in some shards: the first half loops four times, the others do not; it keeps what is read."""

    def __init__(self, count: int, shards: int) -> None:
        self.count, self.extent, self.read = count, {"shards": shards}, list[int]()

    def __len__(self) -> int:
        return self.count

    def tokens(self, i: int) -> Any:
        """Of a sentence."""
        self.read.append(i)
        return np.arange(16) % 4 if i < self.count // 2 else np.arange(16)


@pytest.mark.parametrize(("shards", "last"), [(1, 3 * (LOOKED_AT - 1)), (4, LOOKED_AT - 1)])
def test_the_usual_repetition_of_many_sentences(shards: int, last: int) -> None:
    rows: Any = Rows(3 * LOOKED_AT, shards)
    assert usual_repeats(rows) == 4
    assert (len(rows.read), max(rows.read)) == (LOOKED_AT, last)
    few: Any = Rows(2, shards)
    assert (usual_repeats(few), few.read) == (4, [0, 1])
    none: Any = Rows(0, shards)
    assert usual_repeats(none) == 2
