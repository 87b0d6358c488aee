"""Lesson code-size: reconstruction error over the code's dims, and how many of them a VAE uses.

Shapes: S code sizes.
"""

from __future__ import annotations

from typing import Any

import torch

from seqvae.config.schema import RunConfig
from seqvae.experiments.lessons.plots import lines
from seqvae.experiments.lessons.recipes import KINDS, picture_config, picture_models, pictures
from seqvae.experiments.lessons.runner import LessonArgs, Numbers, Runs, Table
from seqvae.plots.style import FAINT, label_axes, legend_beside, new_figure

NAME = "code-size"
ABOUT = "how many dims a picture needs, and how many of the dims it has a VAE uses"
PAPER = "Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks"
YEAR = 2006
TAKES_DATA = True

SIZES = (1, 2, 4, 8, 16, 32, 64)
STEPS, TESTED = 1000, 500
LR, WIDTHS = 4e-3, (128, 128)
ENOUGH = 0.1  # fraction of the total improvement that still larger codes may add


def configs(material: LessonArgs) -> dict[str, RunConfig]:
    """Both kinds of model at every code size; the embedded images have 4 factors."""
    return {
        f"{name}-{size}": picture_config(
            material,
            {"name": "blob_brightness"},
            {"name": latent, "dim": size},
            hidden=WIDTHS,
            steps=STEPS,
            lr=LR,
        )
        for name, latent in KINDS.items()
        for size in SIZES
    }


def measure(runs: Runs, material: LessonArgs) -> Numbers:
    """Held-out distortion and squared error of both by size, the VAE's active units, and `floor`.

    `floor`: nats per image that no code can save, because grey pixels are targets of a Bernoulli likelihood.
    """
    models = picture_models(runs)
    found = {name: vae.evaluate(samples=1, examples=TESTED) for name, vae in models.items()}
    numbers: Numbers = {"sizes": list(SIZES)}
    for name in KINDS:
        rows = [found[f"{name}-{size}"] for size in SIZES]
        numbers[name] = {key: [row[key] for row in rows] for key in MEASURES}
    pixels, _ = pictures(next(iter(models.values())), "test", TESTED)
    return numbers | {"floor": grey_floor(pixels)}


MEASURES = ("distortion", "squared_error", "active_units")


def grey_floor(pixels: torch.Tensor) -> float:
    """Mean over images (N, C, H, W) of the entropy in nats of Bernoulli pixels with these probabilities."""
    x = pixels.double()
    return float(-(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).flatten(1).sum(1).mean())


def table(numbers: Numbers) -> Table:
    """One row per size."""
    ae, vae = (numbers[name] for name in KINDS)
    head = ("code size", "AE: nats", "AE: squared error", "VAE: nats", "VAE: squared error", "active units")
    rows = [
        (str(size), f"{ae['distortion'][i]:.2f}", f"{ae['squared_error'][i]:.5f}",
         f"{vae['distortion'][i]:.2f}", f"{vae['squared_error'][i]:.5f}", str(vae["active_units"][i]))
        for i, size in enumerate(numbers["sizes"])
    ]  # fmt: skip
    return head, rows


def conclude(numbers: Numbers) -> str:
    """The size beyond which more dims hardly help, and how many the VAE uses."""
    sizes, cost = numbers["sizes"], numbers["autoencoder"]["distortion"]
    enough, best = enough_at(sizes, cost), min(cost)
    used = numbers["VAE"]["active_units"][-1]
    more = "" if cost[-1] <= best * 1.02 else f", and {sizes[-1]} numbers do worse again ({cost[-1]:.1f})"
    if enough == sizes[-1]:
        verdict = f"every doubling of the code still helps the autoencoder (down to {best:.1f} nats)"
    else:
        verdict = (
            f"the autoencoder's held-out distortion falls from {cost[0]:.1f} nats at {sizes[0]} number to "
            f"{best:.1f}, nine tenths of the way by {enough} numbers{more}"
        )
    share = "all" if used == sizes[-1] else f"only {used}"
    return f"{verdict[0].upper()}{verdict[1:]}; of {sizes[-1]} numbers the VAE uses {share}."


def enough_at(sizes: list[int], cost: list[float]) -> int:
    """The smallest size that reaches 90 % of the improvement from the first cost to the lowest."""
    left = [(c - min(cost)) <= ENOUGH * (cost[0] - min(cost)) for c in cost]
    return sizes[left.index(True)]


def draw(numbers: Numbers, runs: Runs, material: LessonArgs) -> Any:
    """Plot held-out distortion over code size, and below it the VAE's active units."""
    figure, sizes = new_figure(6.6, 5.6), numbers["sizes"]
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    handles = lines(above, {name: (sizes, numbers[name]["distortion"]) for name in KINDS})
    look: dict[str, Any] = {"color": "#777777", "linewidth": 1, "linestyle": ":"}
    handles.append(above.axhline(numbers["floor"], label="no code can do better", **look))
    above.set_xscale("log", base=2)
    below.plot(sizes, sizes, color=FAINT, linewidth=1)
    lines(
        below, {"": ([], []), "VAE": (sizes, numbers["VAE"]["active_units"])}
    )  # "": the VAE stays second in colour
    below.set_yscale("log", base=2)
    below.set_xticks(sizes, [str(size) for size in sizes])
    below.set_yticks(sizes, [str(size) for size in sizes])
    label_axes(above, "", "distortion, held out (nats per picture)")
    label_axes(below, "numbers in the code", "active units of the VAE\n(grey: all)")
    legend_beside(figure, handles)
    return figure
