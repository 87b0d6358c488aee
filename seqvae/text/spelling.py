"""What it costs to spell a word that the vocabulary lacks: a character model of the words that it holds.

Shapes: T different continuations of a history, N of all that were seen.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache

ORDER = 5  # characters that the next one is told by, and itself
START, END = "\1", "\0"  # no word holds them; nothing predicts a start
ALPHABET = 0x110000  # code points of Unicode, the end (in the place of U+0000) among them


class SpellingModel:
    """p(word) = prod_i p(c_i given the 4 characters before) over all strings, their end as last character.

    Interpolated as Witten and Bell (1991, method C) do: p(c | h) = (n(h c) + T(h) p(c | h')) / (N(h) + T(h)),
    h' the history without its first character, below the empty one 1 / 1,114,112 for any code point, so that
    no word is impossible and all of them together have probability 1. Each word counts once: the words that a
    vocabulary lacks resemble its rare ones, which are many, not its frequent ones.
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
        """-ln p(word), its end included."""
        return -sum(math.log(self.probability(h, character)) for h, character in self._steps(word))

    def probability(self, history: str, character: str) -> float:
        """p(character | history), of which only the last 4 characters count."""
        history = history[max(0, len(history) - self.order + 1) :]
        found = 1 / ALPHABET
        for start in range(len(history), -1, -1):  # from the empty history to the whole
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
