"""Lesson two-dims: the plane of a 2-D code, where images lie on it and what it decodes to.

Shapes: N examples.
"""

from __future__ import annotations

from typing import Any

import torch

from seqvae import plots
from seqvae.config.schema import RunConfig
from seqvae.evaluation.metrics.probe import linear_probe
from seqvae.experiments.lessons.plots import side_by_side
from seqvae.experiments.lessons.recipes import picture_config, picture_models, pictures
from seqvae.experiments.lessons.runner import LessonArgs, Numbers, Runs, Table

NAME = "two-dims"
ABOUT = "a code that can be plotted whole: where pictures lie on it, and what it decodes to"
PAPER = "Kingma & Welling, Auto-Encoding Variational Bayes"
YEAR = 2014
TAKES_DATA = True

STEPS, LABELLED, TESTED, SIDE = 1500, 1000, 1000, 9


def configs(material: LessonArgs) -> dict[str, RunConfig]:
    """A VAE with a code of two dims."""
    data = {"name": "blob", "labels": ["x", "y"]}
    return {"VAE": picture_config(material, data, {"name": "gaussian", "dim": 2}, steps=STEPS)}


def measure(runs: Runs, material: LessonArgs) -> Numbers:
    """Scores of linear probes on the plane for each label, with up to 1,000 labelled examples."""
    vae = picture_models(runs)["VAE"]
    names = list(vae.config.data.labels)
    (x, y), (x_test, y_test) = (
        pictures(vae, split, n) for split, n in (("train", LABELLED), ("test", TESTED))
    )
    codes, tested = vae.encode(x), vae.encode(x_test)
    found = {}
    for i, name in enumerate(names):
        (row,) = linear_probe(codes, y[:, i], tested, y_test[:, i], labels=[len(y)], seeds=1)
        found[name] = {key: row[key] for key in ("measure", "mean", "baseline")}
    return {"labels": found, "labelled": len(y)}


def table(numbers: Numbers) -> Table:
    """One row per label."""
    rows = [
        (name, row["measure"], f"{row['mean']:.3f}", f"{row['baseline']:.3f}")
        for name, row in numbers["labels"].items()
    ]
    return ("label", "measure", "from the two numbers", "without looking"), rows


def conclude(numbers: Numbers) -> str:
    """Which labels the plane shows: the linear probe's gain over the baseline, relative to a perfect one."""
    gained = {n: (r["mean"] - r["baseline"]) / (1 - r["baseline"]) for n, r in numbers["labels"].items()}
    shown = [f"{name} ({gain:.0%})" for name, gain in gained.items()]
    laid = "lays its pictures out" if min(gained.values()) >= HALF else "lays its pictures out only in part"
    return f"A code of two numbers {laid} by {' and '.join(shown)}, the share that a linear probe explains."


HALF = 0.5


def draw(numbers: Numbers, runs: Runs, material: LessonArgs) -> Any:
    """Plot the plane of codes coloured by the first label, and the grid of decoded images."""
    vae = picture_models(runs)["VAE"]
    x, labels = pictures(vae, "test", TESTED)
    plane = plots.codes(vae.encode(x), labels[:, 0], next(iter(numbers["labels"])))
    axis = torch.tensor(plots.manifold_axis(SIDE)).float()
    z = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)  # (row, column, 2)
    drawn = vae.decode(z.flatten(0, 1))
    return side_by_side(plane, plots.manifold(drawn.reshape(SIDE, SIDE, *drawn.shape[1:]), axis))
