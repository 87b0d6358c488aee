"""Holes: what lies half-way between two codes, and where codes are drawn that no picture has.

Shapes: N made pictures, M real ones, F pixel values, R pairs, S steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqvae import plots
from seqvae.config.schema import RunConfig
from seqvae.experiments.lessons.plots import bars, legend_above, side_by_side
from seqvae.experiments.lessons.recipes import KINDS, picture_config, picture_models, pictures
from seqvae.experiments.lessons.runner import LessonArgs, Numbers, Runs, Table
from seqvae.inference import ImageVAE
from seqvae.plots.style import label_axes, new_figure

NAME = "holes"
ABOUT = "what lies half-way between two codes of an autoencoder, and of a VAE"
PAPER = "Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models"
YEAR = 2019
TAKES_DATA = True

STEPS, DIM = 1000, 2
REAL, MADE = 3000, 250  # training pictures to compare with, and pictures made of each kind
NEIGHBOUR = 3  # the k of Kynkäänniemi et al.
PAIRS, POINTS = 3, 9  # of the picture


def configs(material: LessonArgs) -> dict[str, RunConfig]:
    """An autoencoder and a VAE, alike but for the code."""
    return {
        name: picture_config(material, {"name": "blob"}, {"name": latent, "dim": DIM}, steps=STEPS)
        for name, latent in KINDS.items()
    }


def measure(runs: Runs, material: LessonArgs) -> Numbers:
    """For pictures made of three kinds of codes: `distance` and `realistic`, see there.

    `held out`: codes of held-out pictures. `half-way`: the middle of two of these. `drawn`: N(0, I).
    """
    return {name: _measure(vae, material.seed) for name, vae in picture_models(runs).items()}


def _measure(vae: ImageVAE, seed: int) -> Numbers:
    real, _ = pictures(vae, "train", REAL)
    codes = vae.encode(pictures(vae, "test", 2 * MADE)[0])
    first, second = codes[: len(codes) // 2 * 2].chunk(2)
    made = {
        "held out": vae.decode(first),
        "half-way": vae.decode((first + second) / 2),
        "drawn": vae.sample(len(first), seed),
    }
    return {kind: compare_codes(found.flatten(1), real.flatten(1)) for kind, found in made.items()}


def compare_codes(made: Tensor, real: Tensor) -> dict[str, float]:
    """Made pictures (N, F) against real ones (M, F).

    `distance`: the mean squared difference of their values from those of the nearest real one. `realistic`:
    the share that lies nearer to some real one than its third neighbour among the real ones does (precision,
    Kynkäänniemi et al. 2019; theirs is of a network's features, this one of pixels, among which blurred
    pictures lie near to all real ones unless these are as dense as the embedded discs).
    """
    between = torch.cdist(made, real)  # (N, M)
    k = min(NEIGHBOUR, len(real) - 1)
    reach = torch.cdist(real, real).kthvalue(k + 1, dim=1).values  # (M,): the nearest is itself
    nearest = between.min(1).values.square() / made.shape[1]
    inside = (between <= reach).any(1)
    return {"distance": float(nearest.mean()), "realistic": float(inside.float().mean())}


CODES = ("held out", "half-way", "drawn")


def table(numbers: Numbers) -> Table:
    """A row a model and kind of code."""
    head = ("model", "codes", "squared distance to a real picture", "realistic")
    rows = [
        (name, kind, f"{m[kind]['distance']:.5f}", f"{m[kind]['realistic']:.2f}")
        for name, m in numbers.items()
        for kind in CODES
    ]
    return head, rows


def conclude(numbers: Numbers) -> str:
    """Whose half-way pictures lie nearer to real ones, and whose draws do."""
    between = _nearer(
        numbers, "half-way", "half-way between two codes the {}'s pictures lie nearer to real ones"
    )
    drawn = _nearer(numbers, "drawn", "of codes drawn from N(0, I) the {}'s pictures do")
    return f"{between[0].upper()}{between[1:]}; {drawn}."


def _nearer(numbers: Numbers, kind: str, claim: str) -> str:
    """A claim of the model whose pictures lie nearer, and both its numbers."""
    order = sorted(numbers, key=lambda name: numbers[name][kind]["distance"])
    near, far = (numbers[name][kind] for name in order)
    shares = f"{near['realistic']:.0%} against {far['realistic']:.0%} look real"
    told = claim.format(order[0])
    return f"{told} ({near['distance']:.4f} against {far['distance']:.4f}, {shares})"


def draw(numbers: Numbers, runs: Runs, material: LessonArgs) -> Any:
    """Strips between the same pictures by both, and the numbers as bars."""
    models = picture_models(runs)
    ends, _ = pictures(models["VAE"], "test", 2 * PAIRS)
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    strips = [vae.interpolate(a, b, POINTS) for a, b in pairs for vae in models.values()]
    walls = plots.interpolation(torch.stack(strips), list(models) * len(pairs))
    figure = new_figure(4.2, 4.4)
    axes = figure.subplots()
    shown = {name: {kind: m[kind]["realistic"] for kind in CODES} for name, m in numbers.items()}
    handles = bars(axes, shown)
    label_axes(axes, "codes", "share of pictures that look real")
    legend_above(axes, handles)
    return side_by_side(walls, figure)
