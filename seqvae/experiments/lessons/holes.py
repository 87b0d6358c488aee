"""Lesson holes: decoding codes half-way between two images, and codes sampled from the prior.

Shapes: N generated images, M real ones, F pixel values, R pairs, S steps.
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
REAL, MADE = 3000, 250  # training images to compare with, and generated images of each kind
NEIGHBOUR = 3  # the k of Kynkäänniemi et al.
PAIRS, POINTS = 3, 9  # rows and columns of the figure


def configs(material: LessonArgs) -> dict[str, RunConfig]:
    """An autoencoder and a VAE that differ only in the latent."""
    return {
        name: picture_config(material, {"name": "blob"}, {"name": latent, "dim": DIM}, steps=STEPS)
        for name, latent in KINDS.items()
    }


def measure(runs: Runs, material: LessonArgs) -> Numbers:
    """`distance` and `realistic` (see `compare_codes`) of images decoded from three kinds of codes.

    `held out`: codes of held-out images. `half-way`: midpoints of two of these. `drawn`: from N(0, I).
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
    """Compare generated images (N, F) with real ones (M, F).

    `distance`: mean squared difference to the nearest real image. `realistic`: the fraction that is nearer to
    some real image than that image's third nearest real neighbour (precision, Kynkäänniemi et al. 2019). They
    use a network's features, this uses pixels, where blurred images are near to all real ones unless these
    are as dense as the embedded discs.
    """
    between = torch.cdist(made, real)  # (N, M)
    k = min(NEIGHBOUR, len(real) - 1)
    reach = torch.cdist(real, real).kthvalue(k + 1, dim=1).values  # (M,); k + 1, since the nearest is itself
    nearest = between.min(1).values.square() / made.shape[1]
    inside = (between <= reach).any(1)
    return {"distance": float(nearest.mean()), "realistic": float(inside.float().mean())}


CODES = ("held out", "half-way", "drawn")


def table(numbers: Numbers) -> Table:
    """One row per model and kind of code."""
    head = ("model", "codes", "squared distance to a real picture", "realistic")
    rows = [
        (name, kind, f"{m[kind]['distance']:.5f}", f"{m[kind]['realistic']:.2f}")
        for name, m in numbers.items()
        for kind in CODES
    ]
    return head, rows


def conclude(numbers: Numbers) -> str:
    """Which model's half-way images are nearer to real ones, and which one's samples are."""
    between = _nearer(
        numbers, "half-way", "half-way between two codes the {}'s pictures lie nearer to real ones"
    )
    drawn = _nearer(numbers, "drawn", "of codes drawn from N(0, I) the {}'s pictures do")
    return f"{between[0].upper()}{between[1:]}; {drawn}."


def _nearer(numbers: Numbers, kind: str, claim: str) -> str:
    """The claim for the model whose images are nearer, with the numbers of both."""
    order = sorted(numbers, key=lambda name: numbers[name][kind]["distance"])
    near, far = (numbers[name][kind] for name in order)
    shares = f"{near['realistic']:.0%} against {far['realistic']:.0%} look real"
    sentence = claim.format(order[0])
    return f"{sentence} ({near['distance']:.4f} against {far['distance']:.4f}, {shares})"


def draw(numbers: Numbers, runs: Runs, material: LessonArgs) -> Any:
    """Plot strips between the same images by both models, and the numbers as bars."""
    models = picture_models(runs)
    ends, _ = pictures(models["VAE"], "test", 2 * PAIRS)
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    strips = [vae.interpolate(a, b, POINTS) for a, b in pairs for vae in models.values()]
    walls = plots.interpolation(torch.stack(strips), list(models) * len(pairs))
    figure = new_figure(4.2, 4.4)
    axes = figure.subplots()
    shown = {name: {kind: m[kind]["realistic"] for kind in CODES} for name, m in numbers.items()}
    handles = bars(axes, shown)
    label_axes(axes, "codes", "fraction of pictures that look real")
    legend_above(axes, handles)
    return side_by_side(walls, figure)
