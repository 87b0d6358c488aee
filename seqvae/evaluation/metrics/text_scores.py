"""Scores of reconstructed sentences, and averages by token position.

A sentence is its token ids without specials and without `</s>`. Shapes: B examples, T tokens, P positions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import zip_longest

import torch
from torch import Tensor
from torch.nn import functional

from seqvae.data.text.batch import TextBatch
from seqvae.utils.edit_distance import edit_distance

Tokens = Sequence[int]
UNKNOWN = -2  # out-of-vocabulary token in a reference; -1 pads the shorter sentence
UNSAID = "\ue000"  # its form for BLEU: a word from Unicode's private use area, which no text contains
ORDER = 4  # of BLEU
SHARE_OF_LONG = 0.1  # minimum fraction of references with at least `ORDER` words


def sentences(batch: TextBatch) -> list[list[int]]:
    """The token ids of a batch's targets, without `</s>` and padding."""
    rows = zip(batch.targets.tolist(), batch.lengths.tolist(), strict=True)
    kept = [row[:length] for row, length in rows]
    return [row[:-1] if row and row[-1] == batch.special.eos else row for row in kept]


def mark_unknown(rows: Sequence[Tokens], unknown: Sequence[Sequence[bool]]) -> list[list[int]]:
    """References with unknown tokens replaced by `UNKNOWN`, which no hypothesis contains: always wrong."""
    return [
        [UNKNOWN if lacking else token for token, lacking in zip(row, lacks, strict=True)]
        for row, lacks in zip(rows, unknown, strict=True)
    ]


def token_accuracy(hypotheses: Sequence[Tokens], references: Sequence[Tokens]) -> float:
    """Fraction of positions that agree, with `</s>` counted as the token after the last.

    Sentences are compared by position over the length of the longer one: an inserted word makes all
    following positions wrong, and a sentence of the wrong length cannot score 1.
    """
    pairs = list(zip(hypotheses, references, strict=True))
    right = sum(a == b for x, y in pairs for a, b in zip_longest([*x, None], [*y, None], fillvalue=-1))
    return right / sum(max(len(x), len(y)) + 1 for x, y in pairs)


def exact_match(hypotheses: Sequence[Tokens], references: Sequence[Tokens]) -> float:
    """Fraction of sentences that are reconstructed exactly."""
    pairs = list(zip(hypotheses, references, strict=True))
    return sum(list(x) == list(y) for x, y in pairs) / len(pairs)


def mean_edit_distance(hypotheses: Sequence[Tokens], references: Sequence[Tokens]) -> float:
    """Mean over sentences of the edit distance / tokens of the longer sentence, in [0, 1]."""
    pairs = list(zip(hypotheses, references, strict=True))
    return sum(edit_distance(x, y) / max(len(x), len(y), 1) for x, y in pairs) / len(pairs)


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float | None:
    """BLEU-4 of a corpus in [0, 100], sacrebleu's (Post 2018) with the words split at spaces only.

    None if it is meaningless (`has_bleu`) and, with a note on stderr, if sacrebleu is not installed.
    """
    if not has_bleu(references):
        return None
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        print("no BLEU: sacrebleu is not installed; `pip install 'seqvae[metrics]'`", file=sys.stderr)
        return None
    bleu = BLEU(tokenize="none", force=True)  # the text may be tokenized already: no warning
    return float(bleu.corpus_score(list(hypotheses), [list(references)]).score)


def has_bleu(references: Sequence[str]) -> bool:
    """Whether BLEU-4 is meaningful: at least a tenth of the references have four words.

    It is not for names, molecules and text without spaces.
    """
    long = sum(len(reference.split()) >= ORDER for reference in references)
    return long > 0 and long >= SHARE_OF_LONG * len(references)


def reconstruction_scores(
    hypotheses: Sequence[list[int]], references: Sequence[list[int]], detokenize: Callable[[list[int]], str]
) -> dict[str, float | None]:
    """Scores of reconstructions: `token_accuracy exact_match bleu edit_distance`.

    `UNKNOWN` tokens of references count as wrong in all of them.
    """
    strings = [detokenize(x) for x in hypotheses], [reference_text(x, detokenize) for x in references]
    return {
        "token_accuracy": token_accuracy(hypotheses, references),
        "exact_match": exact_match(hypotheses, references),
        "bleu": corpus_bleu(*strings),
        "edit_distance": mean_edit_distance(hypotheses, references),
    }


def reference_text(reference: Tokens, detokenize: Callable[[list[int]], str]) -> str:
    """A reference as text, with `UNSAID` for each unknown token."""
    if UNKNOWN not in reference:
        return detokenize(list(reference))
    parts: list[list[int]] = [[]]
    for token in reference:
        parts += [[]] if token == UNKNOWN else []
        parts[-1] += [] if token == UNKNOWN else [token]
    texts = [detokenize(part) if part else "" for part in parts]
    return f" {UNSAID} ".join(texts).strip()


def distinct_sentences(samples: Sequence[Tokens]) -> int:
    """Number of different sentences."""
    return len({tuple(sample) for sample in samples})


def by_position(values: Tensor, mask: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """Sums (P,) of unmasked values (B, T), and their counts (P,), at the first P positions."""
    spare = positions - values.shape[1]  # negative values truncate
    kept = functional.pad(values.masked_fill(~mask, 0.0), (0, spare))
    return kept.sum(0), functional.pad(mask, (0, spare)).sum(0)


def position_means(parts: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
    """The mean at each of T positions over batches, from their `by_position`, sums and counts (T,).

    It ends at the last position that any sentence has.
    """
    sums, counts = (sum(column, torch.zeros(())).cpu() for column in zip(*parts, strict=True))
    means: list[float] = (sums / counts)[counts > 0].tolist()
    return means
