"""How often sentences repeat their own 4-grams: of text, and as a limit for text that a model writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from seqvae.data.text.sentences import Sentences

ORDER = 4
OFTEN = 3  # times in a sentence that people see as a loop
LEAST, SHARE, LOOKED_AT = 2, 0.999, 10_000


def most_repeated(tokens: Sequence[Hashable], order: int = ORDER) -> int:
    """How often the most frequent n-gram of a sentence is in it; 0 for a sentence of fewer tokens.

    Example:
        >>> most_repeated("CCCCCC"), most_repeated("a dog sees a cat .".split())
        (3, 1)
    """
    grams = Counter(tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1))
    return max(grams.values(), default=0)


def repeating_share(
    sentences: Sequence[Sequence[Hashable]], order: int = ORDER, times: int = OFTEN
) -> float | None:
    """Share of the sentences with an n-gram that occurs so often, in [0, 1]; None of no sentence."""
    if not sentences:
        return None
    return sum(most_repeated(tokens, order) >= times for tokens in sentences) / len(sentences)


def usual_repeats(store: Sentences) -> int:
    """Times that a 4-gram occurs in a sentence at most, in 999 of 1,000 sentences; at least 2.

    Of 10,000 evenly spaced sentences of a split, or of the first ones where each shard would be opened.
    """
    step = 1 if store.extent["shards"] > 1 else max(1, len(store) // LOOKED_AT)
    rows = range(0, min(len(store), step * LOOKED_AT), step)
    found = sorted(most_repeated(store.tokens(i).tolist()) for i in rows)
    return max(LEAST, found[min(len(found) - 1, int(SHARE * len(found)))]) if found else LEAST
