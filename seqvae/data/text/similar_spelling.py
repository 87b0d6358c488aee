"""Words that are spelled like another one: `dogs` for `dog`, `held` for `hold`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from seqvae.utils.edit_distance import edit_distance

K = TypeVar("K", bound=Hashable)


class SimilarSpelling(Generic[K]):
    """The words of a vocabulary by their spelling.

    Args:
        words: the spelling of each word, by its id.

    Example:
        >>> spelling = SimilarSpelling(dict(enumerate(["dog", "cat", "dogs", "dig", "door", "god"])))
        >>> spelling.nearest(0, 3)
        [2, 3, 4]
    """

    def __init__(self, words: Mapping[K, str]) -> None:
        self.words = dict(words)
        self._by_letter: dict[str, list[K]] = {}
        for key, word in self.words.items():
            self._by_letter.setdefault(word[:1], []).append(key)
        self._found: dict[K, list[K]] = {}

    def nearest(self, key: K, n: int) -> list[K]:
        """The n other words with the same first letter that are fewest characters apart; of equals the first.

        None for an id without a spelling.
        """
        word = self.words.get(key)
        if not word:
            return []
        if key not in self._found:
            others = [other for other in self._by_letter[word[0]] if other != key]
            self._found[key] = sorted(others, key=lambda other: edit_distance(word, self.words[other]))
        return self._found[key][:n]
