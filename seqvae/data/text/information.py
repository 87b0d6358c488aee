"""How many nats a text holds, estimated from counts of short token sequences: no model is trained.

Shapes: T tokens of a text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

ORDER = 4  # tokens of the longest sequences that are counted
COUNTED, HELD = 200_000, 20_000  # tokens that are counted, and tokens that are measured
_END = -1  # </s>, and what stands before the first token

Ids = Sequence[int]


class SequenceCounts:
    """Counts of token sequences of up to `order` tokens, and the probabilities they give.

    p_n(w|h) = (c(h, w) + t(h) p_{n-1}(w|h')) / (c(h) + t(h)), where t(h) is the number of different tokens
    after h and h' is h without its first token (interpolated Witten-Bell smoothing; Chen and Goodman 1999,
    "An empirical study of smoothing techniques for language modeling", section 2.5). p_0 is uniform.
    """

    def __init__(self, vocab_size: int, order: int = ORDER) -> None:
        self.vocab_size, self.order = vocab_size, order
        self.tokens = 0
        self._sequences: Counter[tuple[int, ...]] = Counter()  # h and w
        self._contexts: Counter[tuple[int, ...]] = Counter()  # h
        self._different: Counter[tuple[int, ...]] = Counter()  # t(h)

    def add(self, ids: Ids) -> None:
        """Count one text (T,), its end included."""
        padded = self._padded(ids)
        for place in range(self.order - 1, len(padded)):
            for length in range(self.order):
                sequence = padded[place - length : place + 1]
                self._different[sequence[:-1]] += sequence not in self._sequences
                self._sequences[sequence] += 1
                self._contexts[sequence[:-1]] += 1
        self.tokens += len(ids) + 1

    def nats(self, ids: Ids) -> float:
        """-ln p of one text (T,), its end included."""
        padded = self._padded(ids)
        places = range(self.order - 1, len(padded))
        return -sum(
            math.log(self._probability(padded[place - self.order + 1 : place + 1])) for place in places
        )

    def _padded(self, ids: Ids) -> tuple[int, ...]:
        return (*[_END] * (self.order - 1), *ids, _END)

    def _probability(self, sequence: tuple[int, ...]) -> float:
        p = 1 / (self.vocab_size + 1)
        for start in range(len(sequence) - 1, -1, -1):
            context = sequence[start:-1]
            count = self._contexts[context]
            if not count:
                break
            different = self._different[context]
            p = (self._sequences[sequence[start:]] + different * p) / (count + different)
        return p


def nats_per_text(train: Iterable[Ids], held_out: Iterable[Ids], vocab_size: int) -> float:
    """The mean -ln p of held-out texts, in nats, by counts of the first 200,000 tokens of the training texts.

    A neural model needs less; what it is for is the order of magnitude. 0 where there is no text.

    Example:
        >>> coin = [[0], [1]] * 500
        >>> round(nats_per_text(coin, coin, vocab_size=2), 2)  # ln 2
        0.69
    """
    counts = SequenceCounts(vocab_size)
    for ids in train:
        counts.add(ids)
        if counts.tokens >= COUNTED:
            break
    found, tokens = [], 0
    for ids in held_out:
        found.append(counts.nats(ids))
        tokens += len(ids) + 1
        if tokens >= HELD:
            break
    return sum(found) / max(len(found), 1)
