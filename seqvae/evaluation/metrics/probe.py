"""Linear probes: labels predicted from codes, with few labelled examples.

Shapes: N training examples, M test examples, D features (a code's dims, or those of raw inputs), n labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqvae.errors import UserError
from seqvae.evaluation.metrics.optional_deps import import_sklearn
from seqvae.keyed_noise import KeyedNoise

Array = npt.NDArray[Any]

FOLDS = 5
STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # C of the logistic regression, 1 / penalty
PENALTIES = tuple(10.0**power for power in range(6, -3, -1))  # of the ridge regression
FEWEST = 10  # labels: two per fold
MOST_CLASSES = 20  # distinct integers; labels of a float type with more are real


def linear_probe(
    train_codes: Any,
    train_labels: Any,
    test_codes: Any,
    test_labels: Any,
    labels: Sequence[int] = (100, 500, 1000),
    seeds: int = 5,
) -> list[dict[str, Any]]:
    """Predict labels from features by linear models trained on n labelled examples.

    Classes, sampled in proportion, are predicted by multinomial logistic regression (`accuracy`), real labels
    (floats with fractions or more than 20 values) by ridge regression (`r2`). The
    penalty, and whether features are divided by their own standard deviations or by a common one, are chosen
    by 5-fold cross-validation on the n examples; means and deviations are those of all N, which needs no
    labels. Examples whose label is NaN are dropped.

    Args:
        train_codes: features (N, D).
        train_labels: labels (N,).
        test_codes: features (M, D).
        test_labels: labels (M,).
        labels: the values of n.
        seeds: number of random draws of the n examples.

    Returns:
        One row per n: `labels` n, `measure`, its `mean` and `sd` on the test examples over draws (sd None for
        one draw), `seeds`, and `baseline`, the score without features.

    Raises:
        UserError: shapes that do not match, more labels than examples, or only one class;
            scikit-learn is missing.
    """
    train, test = (
        _select_known(train_codes, train_labels, "training"),
        _select_known(test_codes, test_labels, "test"),
    )
    if train[0].shape[1] != test[0].shape[1]:
        raise UserError(
            f"training examples have {train[0].shape[1]} features, test examples {test[0].shape[1]}: "
            "give both the same"
        )
    if seeds < 1:
        raise UserError(f"seeds must be 1 or more, got {seeds}")
    if min(labels, default=0) < FEWEST or max(labels) > len(train[1]):
        raise UserError(
            f"labels must lie between {FEWEST} and the {len(train[1])} training examples that have one, "
            f"got {', '.join(map(str, labels))}"
        )
    real = _is_real(train[1])
    scales = _scales(train[0])
    scores = {n: [_score(train, test, scales, n, seed) for seed in range(seeds)] for n in labels}
    baseline = 0.0 if real else _share_of_commonest(train[1], test[1])
    return [_row(n, found, real, baseline) for n, found in scores.items()]


Labelled = tuple[Array, Array]  # features (N, D), labels (N,)


def _select_known(features: Any, labels: Any, which: str) -> Labelled:
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    x = x.reshape(len(x), -1)
    if y.ndim != 1 or len(x) != len(y):
        raise UserError(
            f"got {len(x)} {which} examples and labels of shape {y.shape}: give one label per example"
        )
    known = ~np.isnan(y) if y.dtype.kind == "f" else np.ones(len(y), bool)
    return x[known], y[known]


def _is_real(labels: Array) -> bool:
    """Whether labels are real numbers, to be predicted by regression."""
    if labels.dtype.kind != "f":
        return False
    return len(np.unique(labels)) > MOST_CLASSES or bool((labels % 1 != 0).any())


def _share_of_commonest(train: Array, test: Array) -> float:
    found, counts = np.unique(train, return_counts=True)
    return float((test == found[counts.argmax()]).mean())


def _row(n: int, scores: list[float], real: bool, baseline: float) -> dict[str, Any]:
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    row = {"labels": n, "measure": "r2" if real else "accuracy", "mean": float(np.mean(scores)), "sd": sd}
    return row | {"seeds": len(scores), "baseline": baseline}


def _scales(features: Array) -> tuple[Array, Array, Array]:
    """Mean (D,) of features (N, D), and two scales (D,): their own deviations, or a common one.

    The first suits features of different units, the second does not amplify collapsed dims.
    """
    mean, each = features.mean(0), features.std(0)
    each[each <= 1e-12 * np.abs(mean)] = np.inf  # constant features become 0
    one = np.sqrt((each[np.isfinite(each)] ** 2).sum() / len(each)) or np.inf
    return mean, each, np.full_like(each, one)


def _score(train: Labelled, test: Labelled, scales: tuple[Array, Array, Array], n: int, seed: int) -> float:
    """The test score of the model that cross-validates best on n labelled examples."""
    real, (mean, *deviations) = _is_real(train[1]), scales
    groups = np.zeros(len(train[1])) if real else train[1]
    rows = balanced_rows(groups, n, seed)
    y, folds = train[1][rows], balanced_folds(groups[rows], seed)
    if len(np.unique(y)) < 2:
        raise UserError(f"the {n} labels drawn are all {y[0]}: ask for more labels")
    tried: list[tuple[float, float]] = []
    for scale in deviations:
        x, x_test = _rotate((train[0][rows] - mean) / scale, (test[0] - mean) / scale)
        score, model = _cross_validate(x, y, folds, _models(real))
        tried.append((score, float(model.score(x_test, test[1]))))
    return max(tried, key=lambda pair: pair[0])[1]


def _rotate(x: Array, test: Array) -> tuple[Array, Array]:
    """Reduce to at most n features by a rotation, which leaves a squared penalty unchanged."""
    if x.shape[1] <= x.shape[0]:
        return x, test
    axes = np.linalg.svd(x, full_matrices=False)[2].T  # (D, n)
    return x @ axes, test @ axes


def _models(real: bool) -> list[Any]:
    """Models from the strongest to the weakest penalty."""
    linear = import_sklearn("linear_model")
    if real:
        return [linear.Ridge(alpha=alpha) for alpha in PENALTIES]
    return [linear.LogisticRegression(C=strength, max_iter=300) for strength in STRENGTHS]


def _cross_validate(x: Array, y: Array, folds: Array, models: Sequence[Any]) -> tuple[float, Any]:
    """The best mean score over folds, and the first model with that score, fitted on all examples."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", import_sklearn("exceptions").ConvergenceWarning
        )  # with the weakest penalties
        warnings.filterwarnings("ignore", "The number of unique classes")  # few labels of many classes
        means = []
        for model in models:
            parts = ((x[folds != i], y[folds != i], x[folds == i], y[folds == i]) for i in range(FOLDS))
            means.append(
                np.mean([model.fit(a, b).score(c, d) if len(set(b)) > 1 else 0.0 for a, b, c, d in parts])
            )
        best = int(np.argmax(means))
        return float(means[best]), models[best].fit(x, y)


def balanced_rows(labels: Array, n: int, seed: int) -> Array:
    """Indices of n random examples with labels (N,), every class in proportion."""
    draws, quota = _draws("rows", len(labels), seed), np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        quota[rows[draws[rows].argsort(kind="stable")]] = (np.arange(len(rows)) + 0.5) / len(rows)
    return quota.argsort(kind="stable")[:n]


def balanced_folds(labels: Array, seed: int) -> Array:
    """(N,): the fold of each example with labels (N,), stratified by class."""
    classes = np.unique(labels, return_inverse=True)[1]
    folds = np.empty(len(labels), np.int64)
    folds[np.lexsort((_draws("folds", len(labels), seed), classes))] = np.arange(len(labels)) % FOLDS
    return folds


def _draws(stream: str, n: int, seed: int) -> Array:
    return np.asarray(KeyedNoise(seed, 0, torch.arange(n)).uniform(f"probe/{stream}"))
