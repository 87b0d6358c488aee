"""An n-gram language model over token ids: the cheapest opinion on what a sentence should cost.

Shapes: N sentences.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

Tokens = Sequence[int]
ORDER = 5
END = -1  # follows the last token of every sentence
START = -2  # precedes the first


class NGramModel:
    """Interpolated n-grams with Witten-Bell smoothing (Witten & Bell 1991).

    p(w | h) = (c(h w) + t(h) p(w | h')) / (c(h) + t(h)), where c counts, t(h) is the number of different
    tokens after h, h' is h without its first token, and below the unigram stands 1 / V.

    Args:
        sentences: N rows of token ids without special tokens.
        vocab_size: V, number of different tokens that a sentence may hold, its end included.
        order: longest n-gram.
        words: tokens that are counted at most; the rest of the sentences is left out.

    Example:
        >>> model = NGramModel([[1, 2], [1, 3]], vocab_size=4)
        >>> model.nll([1, 2]) < model.nll([2, 1])
        True
    """

    def __init__(
        self, sentences: Sequence[Tokens], vocab_size: int, order: int = ORDER, words: int = 300_000
    ) -> None:
        self.order, self.floor = order, 1 / max(1, vocab_size)
        self.followers: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        self.totals: dict[tuple[int, ...], int] = {}
        for sentence in sentences:
            self._count(sentence)
            words -= len(sentence) + 1
            if words <= 0:
                break
        self.totals = {history: counts.total() for history, counts in self.followers.items()}

    def _count(self, sentence: Tokens) -> None:
        padded = [START, *sentence, END]
        for place in range(1, len(padded)):
            for start in range(max(0, place - self.order + 1), place + 1):
                self.followers[tuple(padded[start:place])][padded[place]] += 1

    def probability(self, token: int, history: tuple[int, ...]) -> float:
        """p(token | history)."""
        p = self.floor
        for start in range(len(history), -1, -1):
            known = self.followers.get(history[start:])
            if known is None:
                break
            total, kinds = self.totals[history[start:]], len(known)
            p = (known.get(token, 0) + kinds * p) / (total + kinds)
        return p

    def nll(self, sentence: Tokens) -> float:
        """-ln p of a sentence and its end, in nats."""
        padded = [START, *sentence, END]
        places = range(1, len(padded))
        return -sum(math.log(self.probability(padded[i], self._history(padded, i))) for i in places)

    def nll_per_token(self, sentences: Sequence[Tokens]) -> float:
        """Mean -ln p per token in nats, ends counted."""
        return sum(map(self.nll, sentences)) / max(1, sum(len(s) + 1 for s in sentences))

    def sample(self, n: int, longest: int, seed: int = 0) -> list[list[int]]:
        """`n` sentences of at most `longest` tokens, drawn token by token."""
        draw = random.Random(seed)
        return [self._sample(longest, draw) for _ in range(n)]

    def _sample(self, longest: int, draw: random.Random) -> list[int]:
        found = [START]
        while len(found) <= longest:
            token = self._next(self._history(found, len(found)), draw)
            if token == END:
                break
            found.append(token)
        return found[1:]

    def _next(self, history: tuple[int, ...], draw: random.Random) -> int:
        """A token after a history: of the longest one that is known, else of a shorter one."""
        for start in range(len(history) + 1):
            known = self.followers.get(history[start:])
            if known is None:
                continue
            total, kinds = self.totals[history[start:]], len(known)
            if not history[start:] or draw.random() < total / (total + kinds):
                return draw.choices(list(known), list(known.values()))[0]
        return END

    def _history(self, padded: Sequence[int], place: int) -> tuple[int, ...]:
        return tuple(padded[max(0, place - self.order + 1) : place])
