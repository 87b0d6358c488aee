"""Probes of few labels: all of separated classes, nothing of random labels."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest

from seqvae.errors import UserError
from seqvae.evaluation.metrics.probe import balanced_folds, balanced_rows, linear_probe

Array = Any


def blobs(n: int, dim: int = 4, classes: int = 3, seed: int = 0) -> tuple[Array, Array]:
    """Classes far apart, (n, dim) and (n,)."""
    draw = np.random.default_rng(seed)
    centres, y = 10 * np.random.default_rng(99).normal(size=(classes, dim)), draw.integers(0, classes, n)
    return centres[y] + draw.normal(size=(n, dim)), y


def test_separated_classes_are_predicted() -> None:
    rows = linear_probe(*blobs(300), *blobs(200, seed=1), labels=(20, 100), seeds=3)
    assert [row["labels"] for row in rows] == [20, 100]
    assert [row["measure"] for row in rows] == ["accuracy"] * 2
    for row in rows:
        assert row["mean"] > 0.98
        assert row["sd"] < 0.02
        assert row["seeds"] == 3
        assert row["baseline"] == pytest.approx(1 / 3, abs=0.1)
    assert json.loads(json.dumps(rows)) == rows


def test_random_labels_are_not_predicted() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(900, 5)), draw.integers(0, 4, 900)
    (row,) = linear_probe(x[:400], y[:400], x[400:], y[400:], labels=(200,), seeds=2)
    assert row["mean"] == pytest.approx(1 / 4, abs=0.06)


def test_more_labels_predict_better() -> None:
    draw = np.random.default_rng(1)
    w = draw.normal(size=20)
    x = draw.normal(size=(2000, 20))
    y = (x @ w + 0.1 * draw.normal(size=2000) > 0).astype(int)
    few, many = linear_probe(x[:1000], y[:1000], x[1000:], y[1000:], labels=(20, 500), seeds=2)
    assert 0.6 < few["mean"] < many["mean"] - 0.1
    assert many["mean"] > 0.93


def test_real_labels_are_predicted_linearly() -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(size=(1200, 5))
    signal = x @ np.array([1.0, -2, 0, 0, 0.5])
    noise = draw.normal(size=1200) * signal.std()  # half of the variance
    for y, expected in ((signal, 1.0), (signal + noise, 0.5), (noise, 0.0)):
        (row,) = linear_probe(x[:600], y[:600], x[600:], y[600:], labels=(300,), seeds=2)
        assert row["measure"] == "r2"
        assert row["baseline"] == 0
        assert row["mean"] == pytest.approx(expected, abs=0.09)


@pytest.mark.parametrize(
    ("labels", "measure"),
    [
        (np.arange(60) % 30, "accuracy"),  # whole numbers of a whole type are classes, however many
        (np.arange(60.0) % 30, "r2"),
        (np.arange(60.0) % 3, "accuracy"),
        (np.arange(60) % 3 + 0.5, "r2"),
        (np.array(["bad", "good"] * 30), "accuracy"),
    ],
)
def test_the_type_of_labels_says_what_is_measured(labels: Array, measure: str) -> None:
    x = np.random.default_rng(3).normal(size=(60, 2))
    (row,) = linear_probe(x, labels, x, labels, labels=(30,), seeds=1)
    assert row["measure"] == measure
    assert row["sd"] is None


def test_unknown_labels_are_left_out() -> None:
    (x, y), (x_test, y_test) = blobs(300), blobs(100, seed=1)
    holes, holes_test = y.astype(float), y_test.astype(float)
    holes[::2], holes_test[::2] = np.nan, np.nan
    found = linear_probe(x, holes, x_test, holes_test, labels=(50,), seeds=2)
    assert found[0]["mean"] > 0.98
    with pytest.raises(
        UserError, match="labels must lie between 10 and the 150 training examples that have one"
    ):
        linear_probe(x, holes, x_test, holes_test, labels=(50, 200))


def test_collapsed_dims_do_not_drown_the_rest() -> None:
    x, y = blobs(2200, dim=3, classes=5)
    x = x / 8 + np.random.default_rng(4).normal(size=x.shape)  # now they overlap
    dead = 0.01 * np.random.default_rng(5).normal(size=(2200, 60))
    wide = np.concatenate([x, dead], 1)
    (alone,) = linear_probe(x[:1000], y[:1000], x[1000:], y[1000:], labels=(100,), seeds=2)
    (beside,) = linear_probe(wide[:1000], y[:1000], wide[1000:], y[1000:], labels=(100,), seeds=2)
    assert beside["mean"] == pytest.approx(alone["mean"], abs=0.02)


def test_more_features_than_labels_and_dead_pixels() -> None:
    (x, y), (x_test, y_test) = blobs(200, dim=30), blobs(150, dim=30, seed=1)
    x[:, 7], x_test[:, 8] = 5.0, -3.0  # one never changes in training, one in the test
    pictures = x.reshape(200, 5, 6), x_test.reshape(150, 5, 6)
    flat = linear_probe(x, y, x_test, y_test, labels=(12,), seeds=2)
    assert linear_probe(pictures[0], y, pictures[1], y_test, labels=(12,), seeds=2) == flat
    assert flat[0]["mean"] > 0.95
    nothing = linear_probe(0 * x, y, 0 * x_test, y_test, labels=(12,), seeds=1)
    assert nothing[0]["mean"] < 0.5


def test_units_do_not_matter() -> None:
    (x, y), (x_test, y_test) = blobs(200), blobs(200, seed=1)
    scale = np.array([1e-6, 1.0, 1e3, 10.0])
    (row,) = linear_probe(x * scale, y, x_test * scale, y_test, labels=(50,), seeds=2)
    assert row["mean"] > 0.97


def test_labels_are_drawn_in_proportion_and_folds_balanced() -> None:
    labels = np.repeat(["a", "b", "c"], [600, 300, 100])
    rows = balanced_rows(labels, 100, seed=0)
    assert len(set(rows)) == 100
    assert np.unique(labels[rows], return_counts=True)[1].tolist() == [60, 30, 10]
    assert balanced_rows(labels, 100, 1).tolist() != rows.tolist() == balanced_rows(labels, 100, 0).tolist()
    assert set(rows[:50]) <= set(rows.tolist())
    folds = balanced_folds(labels, 0)
    for label in "abc":
        counts = np.bincount(folds[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_errors_say_what_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(60)
    with pytest.raises(
        UserError, match=r"got 60 test examples and labels of shape \(59,\): give one label per"
    ):
        linear_probe(x, y, x, y[:59], labels=(20,))
    with pytest.raises(UserError, match="training examples have 4 features, test examples 3"):
        linear_probe(x, y, x[:, :3], y, labels=(20,))
    with pytest.raises(UserError, match=r"labels must lie between 10 and the 60 training .* got 5, 20"):
        linear_probe(x, y, x, y, labels=(5, 20))
    with pytest.raises(UserError, match="seeds must be 1 or more, got 0"):
        linear_probe(x, y, x, y, labels=(20,), seeds=0)
    with pytest.raises(UserError, match="the 20 labels drawn are all 0: ask for more labels"):
        linear_probe(x, 0 * y, x, y, labels=(20,))
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(UserError, match="needs scikit-learn, which is not installed"):
        linear_probe(x, y, x, y, labels=(20,))
