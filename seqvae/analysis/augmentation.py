"""Labelled variants of labelled sentences, drawn through the code, and whether a classifier gains by them.

Shapes: N labelled sentences, M variants, D latent dims, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.evaluation.rate_sweep import is_variable_rate, trained_range
from seqvae.inference.editing import word_changes
from seqvae.inference.text_vae import TextVAE
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.decoding import UNTRUNCATED

WAYS = ("posterior", "interpolation", "rate")
RIDGE = 1e-2  # of the classifier on codes, over the variance of a dim


@dataclass(frozen=True)
class Augmentation:
    """How variants are made, and which are kept.

    Attributes:
        per_example: variants of each sentence at most.
        ways: `posterior` draws codes of the sentence (with its deviations times `spread`), `interpolation`
            moves its code `share` of the way to another one of its class, `rate` encodes it at a lower rate
            (variable-rate runs only).
        spread: of posterior draws.
        share: of the way.
        rate: nats of the lower rate; a quarter of the run's own by default.
        confidence: of the classifier on codes in the sentence's label that a variant must reach.
        distance: words that differ, over those of the longer sentence: least and most.
        tries: candidates per variant that is asked for.
    """

    per_example: int = 4
    ways: Sequence[str] = ("posterior", "interpolation")
    spread: float = 1.5
    share: float = 0.4
    rate: float | None = None
    confidence: float = 0.7
    distance: tuple[float, float] = (0.1, 0.8)
    tries: int = 3


@dataclass(frozen=True)
class Variant:
    """A new sentence with the label of the one that it was made from, and how."""

    text: str
    label: Any
    source: int
    way: str
    confidence: float
    distance: float


@dataclass(frozen=True)
class CodeClassifier:
    """p(class | z) by least squares on codes and a softmax whose temperature training codes decide."""

    classes: Sequence[Any]
    weight: Tensor  # (D + 1, K)
    temperature: float

    def probabilities(self, z: Tensor) -> Tensor:
        """(N, K)."""
        return torch.softmax(_with_one(z) @ self.weight / self.temperature, -1)


def fit_classifier(z: Tensor, labels: Sequence[Any]) -> CodeClassifier:
    """Ridge regression from codes (N, D) to classes, and the temperature of least NLL on the same codes.

    Raises:
        UserError: fewer than two classes.

    Example:
        >>> z = torch.tensor([[0.0], [0.1], [1.0], [0.9]])
        >>> fit_classifier(z, ["a", "a", "b", "b"]).probabilities(z).argmax(-1)
        tensor([0, 0, 1, 1])
    """
    classes = sorted(set(labels), key=str)
    if len(classes) < 2:
        raise UserError(f"all sentences have the label {classes[0] if classes else None!r}: give two classes")
    place = {label: i for i, label in enumerate(classes)}
    y = torch.tensor([place[label] for label in labels])
    x, wanted = _with_one(z).double(), torch.nn.functional.one_hot(y, len(classes)).double()
    penalty = RIDGE * len(x) * x.var(0).clamp(min=1e-8)
    penalty[-1] = 1e-8
    weight = torch.linalg.solve(x.T @ x + torch.diag(penalty), x.T @ wanted)
    scores = x @ weight
    temperatures = [2.0**power for power in range(-6, 3)]
    nll = [float(torch.nn.functional.cross_entropy(scores / t, y)) for t in temperatures]
    return CodeClassifier(classes, weight.float(), temperatures[nll.index(min(nll))])


def augment(
    vae: TextVAE, texts: Sequence[str], labels: Sequence[Any], how: Augmentation | None = None, seed: int = 0
) -> list[Variant]:
    """Variants of labelled sentences: of each at most `per_example`, which no given sentence equals.

    Candidates come from the code in the ways that `how` names, with words drawn too (temperature 0.7). Those
    are kept whose own code a classifier, fitted on the codes of the given sentences, puts into the class of
    their source, and whose distance from it lies in the range.

    Args:
        vae: the model.
        texts: N sentences.
        labels: the class of each.
        how: how variants are made, and which are kept.
        seed: of all draws.

    Raises:
        UserError: as `TextVAE.encode` and `fit_classifier`; an unknown way, or `rate` of a run of one rate.
    """
    how = how or Augmentation()
    _check(how)
    z = vae.encode(texts)
    classifier = fit_classifier(z, labels)
    rounds = [
        (way, number)
        for number in range(math.ceil(how.per_example * how.tries / len(how.ways)))
        for way in how.ways
    ]
    kept: list[dict[str, Variant]] = [{} for _ in texts]
    known = {text.strip() for text in texts}
    for way, number in rounds:
        open_ = [i for i, mine in enumerate(kept) if len(mine) < how.per_example]
        if not open_:
            break
        made = _candidates(vae, texts, labels, z, how, way, seed * 1000 + number, open_)
        for i, text, confidence in _confident(vae, classifier, labels, open_, made, how.confidence):
            variant = Variant(text, labels[i], i, way, confidence, _distance(texts[i], text))
            if how.distance[0] <= variant.distance <= how.distance[1] and text not in known:
                kept[i][text] = variant
                known.add(text)
    return [variant for mine in kept for variant in mine.values()]


def _check(how: Augmentation) -> None:
    unknown = [way for way in how.ways if way not in WAYS]
    if unknown or not how.ways:
        raise UserError(f"ways got {', '.join(unknown) or 'none'}: choose from {', '.join(WAYS)}")
    if how.per_example < 1:
        raise UserError(f"per-example got {how.per_example}: it must be at least 1")


def _candidates(
    vae: TextVAE,
    texts: Sequence[str],
    labels: Sequence[Any],
    z: Tensor,
    how: Augmentation,
    way: str,
    seed: int,
    rows: Sequence[int],
) -> list[str]:
    """A sentence for each of the rows."""
    own = [texts[i] for i in rows]
    words = replace(UNTRUNCATED, temperature=0.7, max_length=vae.config.data.max_tokens)
    if way == "rate":
        low = vae.with_rate(how.rate if how.rate is not None else lower_rate(vae))
        return low.decode(low.encode(own, sample=True, seed=seed), words, seed)
    if way == "posterior":
        drawn = vae.encode(own, sample=True, seed=seed)
        mean = z[list(rows)]
        return vae.decode(mean + how.spread * (drawn - mean), words, seed)
    partners = [_partner(labels, i, seed) for i in rows]
    return vae.decode(torch.lerp(z[list(rows)], z[partners], how.share), words, seed)


def lower_rate(vae: TextVAE) -> float:
    """A quarter of the geometric mean of the trained rates, within their range.

    Raises:
        UserError: the run is not variable-rate.
    """
    if not is_variable_rate(vae.vae.latent):
        raise UserError("the way `rate` needs a run of several rates, as text/variable-rate-quickstart")
    low, high = trained_range(vae.vae.latent)
    return max(low, math.sqrt(low * high) / 4)


def _partner(labels: Sequence[Any], row: int, seed: int) -> int:
    """Another sentence of the same class, drawn; the same where there is no other."""
    others = [i for i, label in enumerate(labels) if label == labels[row] and i != row]
    if not others:
        return row
    draw = KeyedNoise(seed, 0, torch.tensor([row])).uniform("augment/partner")
    return others[min(len(others) - 1, int(draw[0] * len(others)))]


def _confident(
    vae: TextVAE,
    classifier: CodeClassifier,
    labels: Sequence[Any],
    rows: Sequence[int],
    made: Sequence[str],
    least: float,
) -> list[tuple[int, str, float]]:
    """Row, text and confidence of the candidates that are put into the class of their source.

    Those with an unknown word are left out: a reader could not say what it is.
    """
    unknown = vae.tokenizer.token(vae.tokenizer.special.unk)
    pairs = [(i, text.strip()) for i, text in zip(rows, made, strict=True)]
    filled = [(i, text) for i, text in pairs if text and unknown not in text.split()]
    if not filled:
        return []
    p = classifier.probabilities(vae.encode([text for _, text in filled]))
    place = {label: k for k, label in enumerate(classifier.classes)}
    found = [(i, text, float(row[place[labels[i]]])) for (i, text), row in zip(filled, p, strict=True)]
    return [each for each in found if each[2] >= least]


def _distance(a: str, b: str) -> float:
    return word_changes(a, b) / max(len(a.split()), len(b.split()), 1)


def _with_one(z: Tensor) -> Tensor:
    return torch.cat([z, torch.ones_like(z[:, :1])], -1)
