"""What variants of labelled sentences gain a classifier that is judged on held-out sentences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import torch

from seqvae.analysis.augmentation import Augmentation, Variant, augment
from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.evaluation.metrics.optional_deps import import_sklearn
from seqvae.inference.text_vae import TextVAE
from seqvae.keyed_noise import KeyedNoise

STRENGTHS = tuple(10.0**power for power in range(-1, 3))  # C of the logistic regression: 1 / penalty


@dataclass(frozen=True)
class Gain:
    """Held-out accuracy without and with variants, a number per seed each.

    `copies` is the accuracy with as many copies of the given sentences as there are variants: what the mere
    number of rows comes to.
    """

    labelled: int
    tested: int
    variants: float
    without: Sequence[float]
    with_variants: Sequence[float]
    copies: Sequence[float]

    @property
    def differences(self) -> list[float]:
        """Accuracy with less accuracy without, per seed."""
        return [b - a for a, b in zip(self.without, self.with_variants, strict=True)]

    @property
    def gain(self) -> float:
        """The mean of the differences."""
        return mean(self.differences)

    @property
    def error(self) -> float | None:
        """Standard error of the gain over seeds; None for one seed."""
        found = self.differences
        return stdev(found) / math.sqrt(len(found)) if len(found) > 1 else None

    @property
    def verdict(self) -> str:
        """One line: whether there is a gain, by two standard errors."""
        share = f"{100 * self.gain:+.2f} points"
        if self.error is None:
            return f"{share} with one seed: ask for more seeds to see whether that is chance"
        share = f"{share} ± {100 * self.error:.2f} (standard error over {len(self.without)} seeds)"
        if self.gain > 2 * self.error:
            return f"gain: {share}"
        if self.gain < -2 * self.error:
            return f"loss: {share}: these variants harm this classifier"
        return f"no gain: {share} is within two standard errors of 0"


def measure_gain(
    vae: TextVAE,
    texts: Sequence[str],
    labels: Sequence[Any],
    labelled: int = 200,
    how: Augmentation | None = None,
    seeds: int = 5,
    tested: int = 2000,
    progress: ProgressCallback | None = None,
) -> Gain:
    """A classifier trained on `labelled` sentences, with and without their variants, on the other sentences.

    Per seed other sentences are labelled. The classifier is a logistic regression on words and pairs of words
    (tf-idf), whose penalty 5-fold cross-validation chooses on the given sentences alone.

    Args:
        vae: the model.
        texts: all sentences.
        labels: the class of each.
        labelled: how many are given to the classifier and to `augment`.
        how: how variants are made.
        seeds: draws of the labelled sentences.
        tested: held-out sentences at most.
        progress: is called with what is done.

    Raises:
        UserError: fewer than 50 held-out sentences; scikit-learn is missing; or as `augment`.
    """
    if len(texts) - labelled < 50:
        raise UserError(
            f"{len(texts)} sentences leave fewer than 50 to judge on beside {labelled} labelled ones: give a "
            "longer file or a smaller --labelled"
        )
    rows = []
    for seed in range(seeds):
        order = KeyedNoise(seed, 0, torch.arange(len(texts))).uniform("augment/labelled")
        places = order.argsort(stable=True).tolist()
        given, held = places[:labelled], places[labelled : labelled + tested]
        x, y = [texts[i] for i in given], [labels[i] for i in given]
        made = augment(vae, x, y, how, seed)
        rows.append(_accuracies(x, y, made, [texts[i] for i in held], [labels[i] for i in held]))
        if progress is not None:
            progress(seed + 1, seeds, "gain of augmentation")
    variants, without, with_variants, copies = zip(*rows, strict=True)
    return Gain(labelled, min(tested, len(texts) - labelled), mean(variants), without, with_variants, copies)


def _accuracies(
    x: Sequence[str], y: Sequence[Any], made: Sequence[Variant], held: Sequence[str], wanted: Sequence[Any]
) -> tuple[int, float, float, float]:
    """How many variants there are, and held-out accuracies: without, with, and with copies instead."""
    more = [variant.text for variant in made], [variant.label for variant in made]
    copied = [x[variant.source] for variant in made], [y[variant.source] for variant in made]
    strength = _choose_strength(x, y)
    found = [_accuracy([*x, *a], [*y, *b], held, wanted, strength) for a, b in (((), ()), more, copied)]
    return len(made), found[0], found[1], found[2]


def _accuracy(
    x: Sequence[str], y: Sequence[Any], held: Sequence[str], wanted: Sequence[Any], strength: float
) -> float:
    model = _classifier(strength)
    model.fit(list(x), [str(label) for label in y])
    return float(model.score(list(held), [str(label) for label in wanted]))


def _choose_strength(x: Sequence[str], y: Sequence[Any]) -> float:
    """The penalty that cross-validation on the given sentences finds best."""
    selection = import_sklearn("model_selection")
    names = [str(label) for label in y]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # a rare one: fewer than 5 sentences
        scores = [
            float(selection.cross_val_score(_classifier(strength), list(x), names, cv=5).mean())
            for strength in STRENGTHS
        ]
    return STRENGTHS[scores.index(max(scores))]


def _classifier(strength: float) -> Any:
    words = import_sklearn("feature_extraction.text").TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+"
    )
    logistic = import_sklearn("linear_model").LogisticRegression(C=strength, max_iter=1000)
    return import_sklearn("pipeline").make_pipeline(words, logistic)
