"""Lesson few-labels: linear probes on codes learned without labels, against raw input.

Shapes: N examples, D latent dims, V words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqvae.config.schema import RunConfig
from seqvae.evaluation.metrics.probe import linear_probe
from seqvae.experiments.lessons.plots import lines, log_ticks
from seqvae.experiments.lessons.recipes import (
    picture_config,
    picture_models,
    pictures,
    sentence_config,
    sentence_models,
    sentences,
)
from seqvae.experiments.lessons.runner import LessonArgs, Numbers, Runs, Table
from seqvae.plots.style import Array, label_axes, legend_beside, new_figure

NAME = "few-labels"
ABOUT = "linear probes on codes that were learned without labels, against raw input"
PAPER = "Kingma et al., Semi-supervised Learning with Deep Generative Models"
YEAR = 2014
TAKES_DATA = True

LABELS, SEEDS = (100, 500, 1000), 2
POOL, TESTED = 5000, 2000  # pool of the labelled examples, and test examples
PICTURE_STEPS, SENTENCE_STEPS = 800, 800
PICTURE_LABEL, SENTENCE_LABEL = "radius", "number"


def configs(material: LessonArgs) -> dict[str, RunConfig]:
    """A VAE of images and one of sentences, both trained without labels."""
    less = [{"name": "constant_beta", "beta": 0.1}]
    data, code = {"name": "blob_brightness", "labels": [PICTURE_LABEL]}, {"name": "gaussian", "dim": 16}
    return {
        "pictures": picture_config(material, data, code, steps=PICTURE_STEPS, lr=4e-3),
        "sentences": sentence_config(material, {"name": "gaussian", "dim": 32}, less, steps=SENTENCE_STEPS),
    }


def measure(runs: Runs, material: LessonArgs) -> Numbers:
    """Scores of a linear classifier or regression on codes and on raw input, by number of labels.

    Raw input is the pixels, or the word counts of a sentence. The label of images is the radius of their disc
    (R squared), or `label` for images from files (accuracy, if it is a class); that of sentences is whether
    their subject is singular or plural.
    """
    vae, writer = picture_models(runs)["pictures"], sentence_models(runs)["sentences"]
    seen = [pictures(vae, "train", POOL), pictures(vae, "test", TESTED)]
    read = [sentences("train", POOL, SENTENCE_LABEL), sentences("test", TESTED, SENTENCE_LABEL)]
    words = sorted({word for text in read[0][0] for word in text.split()})
    pixels = _collect_features([(vae.encode(x), x.flatten(1), y[:, 0]) for x, y in seen])
    counts = _collect_features([(writer.encode(x), word_counts(x, words), y) for x, y in read])
    return {
        "pictures": {"label": vae.config.data.labels[0], **pixels},
        "sentences": {"label": SENTENCE_LABEL, **counts},
    }


def word_counts(texts: Sequence[str], words: Sequence[str]) -> Array:
    """Counts (N, V) of each word in each sentence."""
    place = {word: i for i, word in enumerate(words)}
    counts = np.zeros((len(texts), len(words)), np.float32)
    for row, text in zip(counts, texts, strict=True):
        for word in text.split():
            if word in place:
                row[place[word]] += 1
    return counts


def _collect_features(splits: Sequence[tuple[Any, Any, Any]]) -> Numbers:
    """Codes, raw input and labels of the training and the test examples."""
    (code, raw, y), (code_test, raw_test, y_test) = splits
    counts = [n for n in LABELS if n <= len(y)]
    found = {
        "code": linear_probe(code, y, code_test, y_test, counts, SEEDS),
        "raw": linear_probe(raw, y, raw_test, y_test, counts, SEEDS),
    }
    first = found["code"][0]
    shown = {name: [row["mean"] for row in rows] for name, rows in found.items()}
    return {"labels": counts, "measure": first["measure"], "baseline": first["baseline"], **shown}


def table(numbers: Numbers) -> Table:
    """One row per number of labels."""
    head = ("input", "label", "labels", "measure", "code", "raw", "without looking")
    rows = [
        (
            what,
            m["label"],
            str(n),
            m["measure"],
            *(f"{x:.3f}" for x in (m["code"][i], m["raw"][i], m["baseline"])),
        )
        for what, m in numbers.items()
        for i, n in enumerate(m["labels"])
    ]
    return head, rows


def conclude(numbers: Numbers) -> str:
    """With how many labels the code is better than raw input, for both modalities."""
    sentences = [_ahead(what, m) for what, m in numbers.items()]
    return f"{'; '.join(sentences)}.".capitalize()


def _ahead(what: str, m: Numbers) -> str:
    better = [str(n) for n, c, r in zip(m["labels"], m["code"], m["raw"], strict=True) if c > r]
    at = f"{m['measure']} {m['code'][0]:.2f} against {m['raw'][0]:.2f} with {m['labels'][0]} labels"
    if not better:
        return f"on {what} the code is never ahead of raw input ({at})"
    if len(better) == len(m["labels"]):
        return f"on {what} the code is ahead of raw input at every number of labels ({at})"
    return f"on {what} the code is ahead of raw input with {' and '.join(better)} labels only ({at})"


def draw(numbers: Numbers, runs: Runs, material: LessonArgs) -> Any:
    """Plot accuracy over the number of labels, images left and sentences right."""
    figure = new_figure(8.6, 3.8)
    handles: list[Any] = []
    for axes, (what, m) in zip(figure.subplots(1, 2), numbers.items(), strict=True):
        known = {"code of a VAE": (m["labels"], m["code"]), "raw input": (m["labels"], m["raw"])}
        look: dict[str, Any] = {"color": "#777777", "linewidth": 1, "linestyle": ":"}
        handles = lines(axes, known)
        handles.append(axes.axhline(m["baseline"], label="without looking", **look))
        log_ticks(axes.xaxis, axes)
        label_axes(axes, "labels", f"{MEASURES[m['measure']]}, held-out examples", f"{what}: {m['label']}")
    legend_beside(figure, handles)
    return figure


MEASURES = {"accuracy": "accuracy", "r2": "R², the fraction of variance explained"}
