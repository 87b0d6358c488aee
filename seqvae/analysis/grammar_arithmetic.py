"""`a - b + c` judged on the embedded grammar, where the right sentence is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from seqvae.analysis.grammar_edits import (
    BINARY,
    Labelled,
    average_judged,
    draw_labelled,
    judge_edit,
    minimal_edit,
    require_grammar,
)
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.inference import TextVAE

EVERY = "all"


def benchmark_arithmetic(
    vae: TextVAE, examples: int = 300, seeds: int = 5, progress: ProgressCallback | None = None
) -> list[dict[str, Any]]:
    """How often a + (c - b) is the sentence a with the attribute of c in place of that of b.

    Held-out sentences a have the attribute's first value. `minimal pair`: b is another sentence of that value
    and c the same with the attribute changed, so that c - b is the attribute alone. `two sentences`: c is any
    sentence with the second value, so c - b holds all else in which they differ. `copy`: a's own
    reconstruction, which is what doing nothing comes to. A row for each method and attribute, and one for
    all: `success`, `exact`, `lost` and `drift` are means over seeds (see `Judged`).

    Args:
        vae: a run on the embedded sentences.
        examples: sentences a per seed, in equal parts for each attribute.
        seeds: draws of the sentences.
        progress: is called with what is done.

    Raises:
        UserError: the run was not trained on the embedded sentences.
    """
    require_grammar(vae)
    judged: dict[tuple[str, str], list[dict[str, float]]] = {}
    done, n = 0, examples // len(BINARY)
    for seed in range(seeds):
        for attribute, (before, after) in BINARY.items():
            drawn = draw_labelled("test", attribute, before, 2 * n, seed)
            held, others = drawn[:n], drawn[n:]
            ends = {
                "minimal pair": [minimal_edit(labels, attribute, after) for _, labels in others],
                "two sentences": [t for t, _ in draw_labelled("test", attribute, after, n, seed)],
                "copy": [text for text, _ in others],
            }
            for method, end in ends.items():
                made = _decode_sums(vae, held, [text for text, _ in others], end)
                rows = [
                    judge_edit(labels, attribute, after, text)
                    for (_, labels), text in zip(held, made, strict=True)
                ]
                judged.setdefault((method, attribute), []).append(average_judged(rows))
            done += 1
            if progress is not None:
                progress(done, seeds * len(BINARY), "arithmetic")
    found: list[dict[str, Any]] = []
    for method in dict.fromkeys(method for method, _ in judged):
        own = {attribute: rows for (m, attribute), rows in judged.items() if m == method}
        own[EVERY] = [row for rows in own.values() for row in rows]
        found += [{"method": method, "attribute": a, **_means(rows)} for a, rows in own.items()]
    return found


def _decode_sums(vae: TextVAE, a: Sequence[Labelled], b: Sequence[str], c: Sequence[str]) -> list[str]:
    codes = [vae.encode(texts) for texts in ([text for text, _ in a], b, c)]
    return vae.decode(codes[0] - codes[1] + codes[2], vae.greedy_untruncated())


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    table = torch.tensor([list(row.values()) for row in rows], dtype=torch.float64)
    return dict(zip(rows[0], table.mean(0).tolist(), strict=True))
