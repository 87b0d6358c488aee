"""Edits judged on the embedded grammar, where the one right edit of each sentence is known.

Shapes: N sentences, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from statistics import mean, stdev
from typing import Any

import torch

from seqvae.data.synthetic import CORPORA
from seqvae.data.synthetic.sentences import FACTORS, NAMES, factors_of, sentence
from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.inference import TextVAE
from seqvae.inference.editing import EditSearch, edit_minimally, find_direction, word_changes
from seqvae.keyed_noise import KeyedNoise

Labelled = tuple[str, tuple[int, ...]]
BINARY = {  # attribute: value before, value after
    "question": (0, 1),
    "negation": (0, 1),
    "tense": (1, 0),
    "number": (0, 1),
    "definite": (0, 1),
    "object_number": (0, 1),
}


@dataclass(frozen=True)
class Judged:
    """One edited sentence against its minimal edit.

    Attributes:
        success: it is a sentence of the grammar and has the value that was asked for.
        exact: it is the minimal edit.
        lost: of the words that the minimal edit keeps, the share that is not kept.
        drift: words that are wrong, changed where the minimal edit keeps them or into others than its: the
            edit distance to the minimal edit over its number of words.
    """

    success: bool
    exact: bool
    lost: float
    drift: float


def judge_edit(labels: Sequence[int], attribute: str, value: int, edited: str) -> Judged:
    """An edit of the sentence with these labels, whose attribute was to become `value`.

    Example:
        >>> labels = factors_of("the old dog sees a ball in the park .")
        >>> judge_edit(labels, "number", 1, "the old dogs see a ball in the park .").exact
        True
        >>> judge_edit(labels, "number", 1, "the young dogs see a ball in the park .").lost
        0.125
    """
    minimal = minimal_edit(labels, attribute, value)
    found = factors_of(edited)
    success = found is not None and found[NAMES.index(attribute)] == value
    source, wanted, got = sentence(labels).split(), minimal.split(), edited.split()
    keep, kept = _kept_places(source, wanted), _kept_places(source, got)
    drift = word_changes(minimal, edited) / len(wanted)
    return Judged(success, edited == minimal, len(keep - kept) / len(keep), drift)


def minimal_edit(labels: Sequence[int], attribute: str, value: int) -> str:
    """The sentence with one label changed."""
    changed = list(labels)
    changed[NAMES.index(attribute)] = value
    return sentence(changed)


def _kept_places(source: Sequence[str], edited: Sequence[str]) -> set[int]:
    """Which words of the one are still there in the other, in order."""
    blocks = SequenceMatcher(None, source, edited, autojunk=False).get_matching_blocks()
    return {place for a, _, size in blocks for place in range(a, a + size)}


@dataclass(frozen=True)
class EditBenchmark:
    """What the edits are measured on: drawn by `seed` from the embedded splits.

    Attributes:
        examples: held-out sentences, in equal parts for each attribute.
        group: training sentences with, and as many without the attribute, that a direction is fitted to.
        strengths: of plain arithmetic, a row each.
        seeds: draws of groups and sentences.
    """

    examples: int = 300
    group: int = 100
    strengths: Sequence[float] = (1.0, 1.5, 2.0)
    seeds: int = 5


def benchmark_edits(
    vae: TextVAE,
    how: EditBenchmark | None = None,
    search: EditSearch | None = None,
    progress: ProgressCallback | None = None,
) -> list[dict[str, Any]]:
    """Success and lost of plain arithmetic on codes and of the search for the smallest edit, side by side.

    A row for each seed, method and attribute: `seed`, `method`, `attribute`, `confidence` (held-out accuracy
    of the direction), `success`, `exact`, `lost`, `drift` (see `Judged`).

    Raises:
        UserError: the run was not trained on the embedded sentences.
    """
    how = how or EditBenchmark()
    require_grammar(vae)
    found = []
    for seed in range(how.seeds):
        for attribute, (before, after) in BINARY.items():
            groups = [draw_labelled("train", attribute, v, how.group, seed) for v in (after, before)]
            held = draw_labelled("test", attribute, before, how.examples // len(BINARY), seed)
            direction = find_direction(vae, *([text for text, _ in group] for group in groups))
            texts = [text for text, _ in held]
            made = {
                f"arithmetic {s:g}": vae.shift(texts, s * direction.step, vae.greedy_untruncated())
                for s in how.strengths
            }
            made["search"] = [edit.edited for edit in edit_minimally(vae, texts, direction, search)]
            for method, edited in made.items():
                judged = [
                    judge_edit(labels, attribute, after, text)
                    for (_, labels), text in zip(held, edited, strict=True)
                ]
                row = {"seed": seed, "method": method, "attribute": attribute}
                found.append(row | {"confidence": direction.accuracy} | average_judged(judged))
            if progress is not None:
                progress(len(found) // (len(how.strengths) + 1), how.seeds * len(BINARY), "edits")
    return found


def average_judged(judged: Sequence[Judged]) -> dict[str, float]:
    """The means of all."""
    return {
        "success": mean(one.success for one in judged),
        "exact": mean(one.exact for one in judged),
        "lost": mean(one.lost for one in judged),
        "drift": mean(one.drift for one in judged),
    }


def draw_labelled(split: str, attribute: str, value: int, n: int, seed: int) -> list[Labelled]:
    """`n` sentences of an embedded split whose attribute has that value, drawn by the seed."""
    place = NAMES.index(attribute)
    fitting = [row for row in CORPORA["sentences"].examples(split) if row[1][place] == value]
    order = KeyedNoise(seed, 0, torch.arange(len(fitting))).uniform(f"grammar/{split}/{attribute}")
    return [fitting[i] for i in order.argsort(stable=True)[:n].tolist()]


def require_grammar(vae: TextVAE) -> None:
    """Refuse runs of other data: only of the embedded grammar the right edit is known.

    Raises:
        UserError: such a run.
    """
    if set(FACTORS) - set(vae.embedded_factors):
        raise UserError(
            f"{vae.run.path} was not trained on the embedded sentences, of which alone the right answer is "
            "known: train one with `seqvae train text/quickstart`"
        )


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over attributes, then mean and standard deviation over seeds: a row for each method."""
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        line: dict[str, Any] = {"method": method, "seeds": len({row["seed"] for row in mine})}
        for key in ("success", "exact", "drift", "lost"):
            by_seed = [
                mean(row[key] for row in mine if row["seed"] == seed)
                for seed in dict.fromkeys(row["seed"] for row in mine)
            ]
            line[key] = mean(by_seed)
            line[f"{key}_sd"] = stdev(by_seed) if len(by_seed) > 1 else None
        found.append(line)
    return found
