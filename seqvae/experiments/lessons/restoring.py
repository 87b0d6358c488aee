"""Lesson restoring: an autoencoder trained on damaged input restores damaged examples.

Shapes: N examples, C x H x W an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqvae import plots
from seqvae.config.schema import RunConfig
from seqvae.experiments.lessons.plots import bars, legend_above, side_by_side
from seqvae.experiments.lessons.recipes import (
    picture_config,
    picture_models,
    pictures,
    sentence_config,
    sentence_models,
    sentences,
)
from seqvae.experiments.lessons.runner import LessonArgs, Numbers, Runs, Table
from seqvae.keyed_noise import KeyedNoise
from seqvae.plots.style import label_axes, new_figure
from seqvae.remedies.pixel_noise import add_noise

NAME = "restoring"
ABOUT = "noisy pictures and sentences with missing words, restored by training on damaged input"
PAPER = "Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders"
YEAR = 2008
TAKES_DATA = True

SALT = 0.3  # fraction of pixels that become black or white
BLANK = 0.15  # fraction of words that become <unk>
PICTURE_STEPS, SENTENCE_STEPS, DIM = 1000, 700, 32
TESTED, SHOWN = 500, 6
MISSING = "<unk>"
TRAINED = ("without noise", "with noise")


def configs(material: LessonArgs) -> dict[str, RunConfig]:
    """Two autoencoders of images and two of sentences, trained on clean and on damaged input."""
    code, discs = {"name": "deterministic", "dim": DIM}, {"name": "blob_brightness"}
    salt = [{"name": "pixel_noise", "drop": 0.0, "salt": SALT}]
    blanks = [{"name": "denoising", "drop": 0.0, "blank": BLANK}]
    return {
        "pictures without noise": picture_config(material, discs, code, steps=PICTURE_STEPS),
        "pictures with noise": picture_config(material, discs, code, salt, steps=PICTURE_STEPS),
        "sentences without noise": sentence_config(material, code, steps=SENTENCE_STEPS),
        "sentences with noise": sentence_config(material, code, blanks, steps=SENTENCE_STEPS),
    }


def measure(runs: Runs, material: LessonArgs) -> Numbers:
    """Metrics of the restoration of damaged examples.

    `error`: mean squared error of the damaged images and of each model's reconstructions. `recovered`: the
    fraction of missing words that are restored; `kept`: the fraction of the other words that are unchanged.
    """
    vaes, (clean, damaged) = picture_models(runs), damaged_pictures(runs, material.seed)
    error = {"damaged input": squared_error(damaged, clean)}
    error |= {kind: squared_error(vaes[f"pictures {kind}"].reconstruct(damaged), clean) for kind in TRAINED}
    writers, whole = sentence_models(runs), sentences("test", TESTED)[0]
    blanked = [blank_words(text, i, material.seed) for i, text in enumerate(whole)]
    words: Numbers = {}
    for kind in TRAINED:
        writer = writers[f"sentences {kind}"]
        pairs = writer.reconstruct(blanked, writer.greedy_untruncated())
        back = [pair.reconstruction for pair in pairs]
        words[kind] = score_restoration(whole, blanked, back)
    example = {"whole": whole[0], "damaged": blanked[0]}
    return {
        "error": error,
        "words": words,
        "example": example | {k: w.pop("first") for k, w in words.items()},
    }


def damaged_pictures(runs: Runs, seed: int) -> tuple[Tensor, Tensor]:
    """Held-out images (N, C, H, W) and the same with noise."""
    clean, _ = pictures(picture_models(runs)["pictures without noise"], "test", TESTED)
    return clean, add_noise(clean, KeyedNoise(seed, 0, torch.arange(len(clean))), salt=SALT)


def squared_error(pixels: Tensor, clean: Tensor) -> float:
    """Mean squared error over all values."""
    return float((pixels - clean).square().mean())


def blank_words(text: str, index: int, seed: int) -> str:
    """Replace a fraction of a sentence's words, at least one, by <unk>."""
    words = text.split()
    chance = KeyedNoise(seed, 0, torch.tensor([index])).uniform("lessons/blank", len(words))[0]
    missing = set(torch.nonzero(chance < BLANK)[:, 0].tolist()) or {int(chance.argmin())}
    return " ".join(MISSING if i in missing else word for i, word in enumerate(words))


def score_restoration(whole: Sequence[str], damaged: Sequence[str], back: Sequence[str]) -> Numbers:
    """`recovered` and `kept`, fractions of words, and the `first` reconstruction."""
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for texts in zip(whole, damaged, back, strict=True):
        words, left, found = (text.split() for text in texts)
        found += [""] * (len(words) - len(found))
        for word, seen, written in zip(words, left, found, strict=False):
            hits[seen == MISSING].append(word == written)
    shares = {key: sum(hits[lost]) / max(1, len(hits[lost])) for key, lost in SHARES.items()}
    return {**shares, "first": back[0]}


SHARES = {"recovered": True, "kept": False}


def table(numbers: Numbers) -> Table:
    """One row for the damaged input and one per model."""
    head = ("", "squared error of pictures", "missing words recovered", "other words kept")
    error, words = numbers["error"], numbers["words"]
    rows: list[tuple[str, ...]] = [("damaged input", f"{error['damaged input']:.4f}", "-", "-")]
    for kind in TRAINED:
        shares = (f"{words[kind][key]:.3f}" for key in SHARES)
        rows.append((f"trained {kind}", f"{error[kind]:.4f}", *shares))
    return head, rows


def conclude(numbers: Numbers) -> str:
    """Whether noise in training helped, for both modalities."""
    error, words = numbers["error"], numbers["words"]
    plain, trained = (error[kind] for kind in TRAINED)
    lost, found = (words[kind]["recovered"] for kind in TRAINED)
    ratio = error["damaged input"] / max(trained, 1e-12)
    helped = trained < min(plain, error["damaged input"])
    seen = "restores damaged pictures" if helped else "does not restore damaged pictures better"
    read = "recovers more missing words" if found > lost else "does not recover more missing words"
    return (
        f"Training on damaged input {seen} (error {error['damaged input']:.4f} -> {trained:.4f}, "
        f"{ratio:.1f} times less; {plain:.4f} without it) and {read} ({found:.0%} against {lost:.0%})."
    )


def draw(numbers: Numbers, runs: Runs, material: LessonArgs) -> Any:
    """Plot damaged images and both models' reconstructions, next to the fractions of words."""
    vaes, (clean, damaged) = picture_models(runs), damaged_pictures(runs, material.seed)
    back = [vaes[f"pictures {kind}"].reconstruct(damaged[:SHOWN]) for kind in TRAINED]
    names = ("whole", "damaged", *(f"trained {kind}" for kind in TRAINED))
    walls = plots.rows_of(torch.stack([clean[:SHOWN], damaged[:SHOWN], *back]), names)
    figure = new_figure(4.4, 4.0)
    axes = figure.subplots()
    shown = {f"trained {kind}": {KEYS[k]: numbers["words"][kind][k] for k in SHARES} for kind in TRAINED}
    handles = bars(axes, shown)
    example = numbers["example"]
    texts = {"whole": example["whole"], "damaged": example["damaged"]}
    texts |= {f"trained {kind}": example[kind] for kind in TRAINED}
    label_axes(axes, "\n".join(["", *(f"{who}: {text}" for who, text in texts.items())]), "fraction of words")
    legend_above(axes, handles)
    return side_by_side(walls, figure)


KEYS = {"recovered": "missing words\nrecovered", "kept": "other words\nkept"}
