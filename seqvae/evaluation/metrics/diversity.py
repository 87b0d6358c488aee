"""Diversity of sentences: self-BLEU, distinct n-grams, and copies of the training data.

A sentence is a string whose words are split at spaces. Shapes: n sentences, the order of n-grams is 1 to 4.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

ORDER = 4  # of BLEU
SELF_BLEU_OF = 500  # sentences: self-BLEU rises with their number, and Texygen's code uses 500
EPSILON = 0.1  # count for an order without matches, as there (Chen & Cherry 2014, method 1)
Gram = tuple[str, ...]


def diversity(sentences: Sequence[str], training: Iterable[str], first: int = SELF_BLEU_OF) -> dict[str, Any]:
    """`self_bleu` and `distinct_1`, `distinct_2` of the first `first` sentences, `copied` and `empty` of all.

    Both depend on the number of sentences (fewer: higher distinct, lower self-BLEU): compare equal numbers.
    """
    few = sentences[:first]
    return {
        "samples": len(sentences),
        "diversity_of": len(few),
        "self_bleu": self_bleu(few),
        "distinct_1": distinct_share(few, 1),
        "distinct_2": distinct_share(few, 2),
        "distinct_sentences": len(set(few)),
        "copied": copied_share(sentences, training),
        "empty": sum(not sentence.split() for sentence in sentences),
    }


def distinct_share(sentences: Sequence[str], order: int) -> float | None:
    """Distinct n-grams of one order / all words (Li et al. 2016), in [0, 1]; None without words."""
    return distinct_ngrams([sentence.split() for sentence in sentences], order)


def distinct_ngrams(sentences: Sequence[Sequence[Hashable]], order: int) -> float | None:
    """Distinct n-grams of one order / all tokens of sentences that are split into tokens."""
    tokens = sum(map(len, sentences))
    if not tokens:
        return None
    grams = {tuple(row[i : i + order]) for row in sentences for i in range(len(row) - order + 1)}
    return len(grams) / tokens


def copied_share(sentences: Sequence[str], training: Iterable[str]) -> float | None:
    """Fraction of the sentences that occur verbatim in the training data; None if all are empty."""
    known = {" ".join(sentence.split()) for sentence in training}
    filled = [" ".join(sentence.split()) for sentence in sentences if sentence.split()]
    return sum(sentence in known for sentence in filled) / len(filled) if filled else None


def self_bleu(sentences: Sequence[str]) -> float | None:
    """Mean BLEU-4 in [0, 100] of each sentence with all others as references: high for repetitions.

    Source: Zhu et al. 2018, Texygen, also for `EPSILON` as the count of an order without a match. BLEU is
    sacrebleu's (Post 2018) with effective order for short sentences. None for fewer than two sentences, if
    fewer than a tenth have two words (it would compare whole sentences), and, with a note on stderr, if
    sacrebleu is not installed.
    """
    if len(sentences) < 2 or sum(len(sentence.split()) > 1 for sentence in sentences) < len(sentences) / 10:
        return None
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        print("no self-BLEU: sacrebleu is not installed; `pip install 'seqvae[metrics]'`", file=sys.stderr)
        return None
    total = 0.0
    for correct, possible, length, nearest in count_overlaps([sentence.split() for sentence in sentences]):
        scored = BLEU.compute_bleu(
            correct, possible, length, nearest, "floor", EPSILON, effective_order=True, max_ngram_order=ORDER
        )
        total += scored.score
    return total / len(sentences)


def count_overlaps(sentences: Sequence[Sequence[str]]) -> list[tuple[list[int], list[int], int, int]]:
    """For each sentence against all others: matched and possible n-grams by order, its and nearest length.

    An n-gram matches at most as often as it occurs in one other sentence; of two equally near lengths the
    shorter counts. N-grams are counted once for all pairs, so that the cost is linear in the words.
    """
    grams = [_count_ngrams(words) for words in sentences]
    most: dict[Gram, tuple[int, int]] = {}  # two highest counts per sentence: a sentence may not match itself
    for counts in grams:
        for gram, count in counts.items():
            high, second = most.get(gram, (0, 0))
            most[gram] = (count, high) if count > high else (high, max(count, second))
    lengths = Counter(len(words) for words in sentences)
    found = []
    for words, counts in zip(sentences, grams, strict=True):
        correct, possible = [0] * ORDER, [0] * ORDER
        for gram, count in counts.items():
            high, second = most[gram]
            elsewhere = second if count == high else high
            possible[len(gram) - 1] += count
            correct[len(gram) - 1] += min(count, elsewhere)
        found.append((correct, possible, len(words), _nearest(lengths, len(words))))
    return found


def ngrams(words: Sequence[str], order: int) -> list[Gram]:
    """All n-grams of `order` words."""
    return [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]


def _count_ngrams(words: Sequence[str]) -> Counter[Gram]:
    return Counter(gram for order in range(1, ORDER + 1) for gram in ngrams(words, order))


def _nearest(lengths: Counter[int], own: int) -> int:
    """The length of another sentence nearest to `own`."""
    others = (length for length, count in lengths.items() if count > (length == own))
    return min(others, key=lambda length: (abs(length - own), length))
