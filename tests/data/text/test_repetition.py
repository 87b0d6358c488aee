"""How often sentences repeat their own 4-grams."""

from __future__ import annotations

from seqvae.data.text.repetition import most_repeated, repeating_share


def test_known_counts() -> None:
    assert most_repeated("CCC") == 0
    assert most_repeated("CCCC") == 1
    assert most_repeated("C" * 10) == 7
    assert most_repeated(["a", "b", "c", "d", "a", "b", "c", "d"]) == 2
    assert most_repeated([1, 2, 1, 2, 1, 2, 1, 2], order=2) == 4


def test_the_share_of_sentences_that_repeat() -> None:
    assert repeating_share([]) is None
    assert repeating_share(["C" * 6, "C" * 5, "abcdef", ""]) == 0.25
