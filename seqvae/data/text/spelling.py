"""The cost of spelling an out-of-vocabulary word, by a character model of the vocabulary's words.

Notation: T distinct continuations of a history, N continuations in total.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache

ORDER = 5  # n-gram order: 4 characters of history and the predicted one
START, END = "\1", "\0"  # not in any word; a start is never predicted
ALPHABET = 0x110000  # number of Unicode code points, with the end in place of U+0000


class SpellingModel:
    """p(word) = prod_i p(c_i | the 4 characters before) over all strings, with an end character.

    Interpolated as in Witten and Bell (1991, method C): p(c | h) = (n(h c) + T(h) p(c | h')) / (N(h) + T(h)),
    where h' is the history without its first character. Below the empty history it is uniform,
    1 / 1,114,112, so that every word has positive probability and all words sum to 1. Each word counts once,
    because out-of-vocabulary words resemble the many rare words rather than the frequent ones.
    """

    def __init__(self, words: Iterable[str], order: int = ORDER) -> None:
        self.order = order
        self.seen: dict[str, Counter[str]] = defaultdict(Counter)
        for word in set(words):
            for history, character in self._steps(word):
                for start in range(len(history) + 1):
                    self.seen[history[start:]][character] += 1
        self.totals = {history: counts.total() for history, counts in self.seen.items()}
        self.nats = lru_cache(maxsize=1 << 16)(self._nats)

    def _nats(self, word: str) -> float:
        """-ln p(word) in nats, including its end."""
        return -sum(math.log(self.probability(h, character)) for h, character in self._steps(word))

    def probability(self, history: str, character: str) -> float:
        """p(character | history); only the last 4 characters of the history are used."""
        history = history[max(0, len(history) - self.order + 1) :]
        found = 1 / ALPHABET
        for start in range(len(history), -1, -1):  # from the empty history to the full one
            context = history[start:]
            if context in self.totals:
                counts = self.seen[context]
                kinds = len(counts)
                found = (counts[character] + kinds * found) / (self.totals[context] + kinds)
        return found

    def _steps(self, word: str) -> Iterable[tuple[str, str]]:
        begun = START + word
        for place, character in enumerate([*word, END], start=1):
            yield begun[max(0, place - self.order + 1) : place], character
