"""Labelled variants: what is kept of the candidates, and when a gain is one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from tiny import trained

from seqvae.analysis.augmentation import Augmentation, augment, fit_classifier, lower_rate
from seqvae.analysis.augmentation_gain import Gain, measure_gain
from seqvae.data.synthetic.sentences import NAMES, iter_sentences
from seqvae.errors import UserError
from seqvae.inference import TextVAE

PLACE = NAMES.index("question")


@pytest.fixture(scope="module")
def rows() -> tuple[list[str], list[str]]:
    drawn: Iterator[tuple[str, tuple[int, ...]]] = islice(iter_sentences(100, 5), 100)
    pairs = [(text, "question" if labels[PLACE] else "statement") for text, labels in drawn]
    return [text for text, _ in pairs], [label for _, label in pairs]


def test_a_classifier_on_codes() -> None:
    z = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    labels = ["up" if row[1] > 0 else "down" for row in z]
    z[:, 2] = 7.0  # a dim that never changes
    found = fit_classifier(z, labels)
    p = found.probabilities(z)
    right = [found.classes[i] == label for i, label in zip(p.argmax(-1).tolist(), labels, strict=True)]
    assert sum(right) > 190
    assert torch.allclose(p.sum(-1), torch.ones(200), atol=1e-5)
    with pytest.raises(UserError, match="all sentences have the label 'up'"):
        fit_classifier(z[:2], ["up", "up"])


def test_variants_are_new_near_and_labelled(vae: TextVAE, rows: tuple[list[str], list[str]]) -> None:
    texts, labels = rows[0][:20], rows[1][:20]
    how = Augmentation(per_example=2, confidence=0.5, distance=(0.05, 0.95))
    made = augment(vae, texts, labels, how)
    assert made
    assert augment(vae, texts, labels, how) == made
    assert len({variant.text for variant in made}) == len(made)
    assert not {variant.text for variant in made} & set(texts)
    counts = [sum(variant.source == i for variant in made) for i in range(20)]
    assert max(counts) <= 2
    for variant in made:
        assert variant.label == labels[variant.source]
        assert variant.confidence >= 0.5
        assert 0.05 <= variant.distance <= 0.95
        assert variant.way in how.ways
        assert "<unk>" not in variant.text
    strict = augment(vae, texts, labels, Augmentation(2, confidence=1.0))
    assert len(strict) < len(made)


def test_a_lower_rate_makes_variants_too(
    rows: tuple[list[str], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    sets = ("latent={name: exact_rate, dim: 4, nats: [2, 32]}", "train.steps=20")
    variable = TextVAE.from_pretrained(trained(tmp_path_factory.getbasetemp(), "tiny-augment", *sets))
    assert lower_rate(variable) == pytest.approx(2)  # a quarter of sqrt(2 x 32)
    how = Augmentation(1, ways=("rate",), confidence=0.0, distance=(0.0, 1.0))
    made = augment(variable, rows[0][:10], rows[1][:10], how)
    assert {variant.way for variant in made} == {"rate"}


def test_mistakes(vae: TextVAE) -> None:
    with pytest.raises(UserError, match="ways got magic: choose from posterior, interpolation, rate"):
        augment(vae, ["a"], [0], Augmentation(ways=("magic",)))
    with pytest.raises(UserError, match="needs a run of several rates"):
        augment(vae, ["a", "the dog"], [0, 1], Augmentation(ways=("rate",)))
    with pytest.raises(UserError, match="leave fewer than 50 to judge on"):
        measure_gain(vae, ["a"] * 60, [0] * 60, labelled=20)


def test_a_gain_is_measured_on_other_sentences(vae: TextVAE, rows: tuple[list[str], list[str]]) -> None:
    gain = measure_gain(vae, *rows, labelled=40, how=Augmentation(1, confidence=0.0), seeds=2)
    assert (gain.labelled, gain.tested) == (40, 60)
    assert len(gain.without) == len(gain.with_variants) == len(gain.copies) == 2
    assert min(gain.without) > 0.6  # `?` says it
    assert gain.gain == pytest.approx(sum(gain.differences) / 2)


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ((0.6, 0.71, 0.8), "gain: +10.33 points ± 0.33"),
        ((0.4, 0.49, 0.6), "loss: -10.33 points"),
        ((0.45, 0.66, 0.69), "no gain: +0.00 points"),
    ],
)
def test_verdicts(after: tuple[float, ...], verdict: str) -> None:
    gain = Gain(10, 60, 9, (0.5, 0.6, 0.7), after, after)
    assert gain.verdict.startswith(verdict)
    assert "ask for more seeds" in Gain(10, 60, 9, (0.5,), (0.7,), (0.7,)).verdict
