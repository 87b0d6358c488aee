"""How many nats a text holds, estimated from counts of short token sequences: no model is trained.

Shapes: T tokens of a text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

ORDER = 4  # tokens of the longest sequences that are counted
COUNTED, HELD = 200_000, 20_000  # tokens that are counted, and tokens that are measured
CODE_SHARE = 1 / 6  # of the nats of a text, which its code carries
LEAST = 2.0  # nats of a code that is worth having
_END = -1  # the end of a text, and the padding before its first token

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

    def nats(self, ids: Ids) -> list[float]:
        """-ln p of one text (T,), its end included, by sequences of up to 1, 2 ... `order` tokens."""
        padded = self._padded(ids)
        found = [0.0] * self.order
        for place in range(self.order - 1, len(padded)):
            for n, p in enumerate(self.probabilities(padded[place - self.order + 1 : place + 1])):
                found[n] -= math.log(p)
        return found

    def probabilities(self, sequence: tuple[int, ...]) -> list[float]:
        """Of the last token after those before it, by sequences of up to 1, 2 ... `order` tokens."""
        p, found = 1 / (self.vocab_size + 1), []
        for start in range(len(sequence) - 1, -1, -1):
            context = sequence[start:-1]
            if count := self._contexts[context]:
                different = self._different[context]
                p = (self._sequences[sequence[start:]] + different * p) / (count + different)
            found.append(p)
        return found

    def _padded(self, ids: Ids) -> tuple[int, ...]:
        return (*[_END] * (self.order - 1), *ids, _END)


def nats_per_text(train: Iterable[Ids], held_out: Iterable[Ids], vocab_size: int) -> float:
    """The mean -ln p of held-out texts, in nats, by counts of the first 200,000 tokens of the training texts.

    Sequences are as long as gives the least. A neural model needs less: this is for the order of magnitude. 0
    where there is no text.

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
    return min(sum(texts) for texts in zip(*found, strict=True)) / len(found) if found else 0.0


def code_nats(nats: float) -> float:
    """The size in nats of a code of texts that hold `nats`: a sixth of it, and at least 2.

    Example:
        >>> code_nats(60.0)
        10.0
    """
    return max(LEAST, CODE_SHARE * nats)
