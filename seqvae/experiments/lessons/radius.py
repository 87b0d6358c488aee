"""Lesson radius: how many nats a VAE spends on the position and on the radius of a disc."""

from __future__ import annotations

import math
from typing import Any

import torch

from seqvae import plots
from seqvae.config.schema import RunConfig
from seqvae.data.synthetic import PICTURES
from seqvae.experiments.lessons.plots import bars, legend_above, side_by_side
from seqvae.experiments.lessons.recipes import picture_config, picture_models, pictures
from seqvae.experiments.lessons.runner import LessonArgs, Numbers, Runs, Table
from seqvae.models.latent_directions import traverse_dim
from seqvae.plots.style import label_axes, new_figure

NAME = "radius"
ABOUT = "whether the code carries more nats of a disc's position or of its radius"
PAPER = "Burgess et al., Understanding Disentangling in beta-VAE"
YEAR = 2018
TAKES_DATA = False

DATA, STEPS, DIM, TESTED, ROWS = "blob_radius", 1500, 6, 2000, 5
FACTORS = ("x", "y", "radius")


def configs(material: LessonArgs) -> dict[str, RunConfig]:
    """A VAE of discs of 16 radii at 64 x 64 positions."""
    data = {"name": DATA, "labels": list(FACTORS)}
    return {"VAE": picture_config(material, data, {"name": "gaussian", "dim": DIM}, steps=STEPS)}


def measure(runs: Runs, material: LessonArgs) -> Numbers:
    """Nats spent on each factor (`factor_scores`), and its entropy `whole`, the nats of all its values.

    `rate` is the sum over all dims; `by_nats` holds each dim's nats, which sort the figure.
    """
    vae = picture_models(runs)["VAE"]
    report = vae.evaluate(samples=1, examples=TESTED, factors=True)
    whole = {name: math.log(len(PICTURES[DATA].factors[name])) for name in FACTORS}
    kept = {"rate": report["rate"], "by_nats": report["kl_per_dim"], "unassigned": report["nats_unassigned"]}
    return {"nats": {name: report["nats_per_factor"][name] for name in FACTORS}, "whole": whole, **kept}


def table(numbers: Numbers) -> Table:
    """One row per factor."""
    rows = [(name, f"{nats:.2f}", f"{numbers['whole'][name]:.2f}") for name, nats in numbers["nats"].items()]
    return ("factor", "nats", "entropy of its values"), rows


def conclude(numbers: Numbers) -> str:
    """Whether radius has fewer nats than either coordinate."""
    nats = numbers["nats"]
    x, y, radius = (nats[name] for name in FACTORS)
    shown = f"({radius:.2f} nats against {x:.2f} for x and {y:.2f} for y, of a rate of {numbers['rate']:.2f})"
    if radius < min(x, y):
        return f"The radius is coded less sharply than the position {shown}."
    if radius > max(x, y):
        return f"The radius is coded more sharply than the position {shown}."
    return f"The radius is coded about as sharply as the position {shown}."


def draw(numbers: Numbers, runs: Runs, material: LessonArgs) -> Any:
    """Plot nats by factor, and traversals of the dims."""
    vae = picture_models(runs)["VAE"]
    base, steps = vae.encode(pictures(vae, "test", 1)[0])[0], torch.linspace(-3, 3, 9)
    strips = torch.stack(
        [vae.decode(traverse_dim(base, dim, steps=len(steps))[0]) for dim in range(len(base))]
    )
    figure = new_figure(4.4, 3.8)
    axes = figure.subplots()
    shown = {"spent by the code": numbers["nats"], "entropy of its values": numbers["whole"]}
    handles = bars(axes, shown)
    label_axes(axes, "factor", "nats")
    legend_above(axes, handles)
    return side_by_side(figure, plots.traversals(strips, torch.tensor(numbers["by_nats"]), steps, ROWS))
