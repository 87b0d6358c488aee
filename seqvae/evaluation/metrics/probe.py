"""What a straight line reads from codes when few of them have labels.

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
STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # C of the logistic regression: 1 / penalty
PENALTIES = tuple(10.0**power for power in range(6, -3, -1))  # of the ridge regression
FEWEST = 10  # labels: two a fold
MOST_CLASSES = 20  # distinct whole numbers; labels of a float type with more are real


def linear_probe(
    train_codes: Any,
    train_labels: Any,
    test_codes: Any,
    test_labels: Any,
    labels: Sequence[int] = (100, 500, 1000),
    seeds: int = 5,
) -> list[dict[str, Any]]:
    """How well labels are told from features (N, D), when only n of the training examples have one.

    A row for each n: `labels` n, `measure`, its `mean` and `sd` on the test over `seeds` draws of the n
    examples (sd None for one draw), `seeds`, and `baseline`, what is reached without looking at the features.
    Classes, drawn in proportion, are told by multinomial logistic regression: `accuracy`. Real labels, those
    of a float type with fractions or more than 20 values, by ridge regression: `r2`. The penalty, and whether
    features are divided by their own deviations or all by one number, are chosen by 5-fold cross-validation
    on the n examples alone; means and deviations are those of all N, which needs no label. Examples whose
    label is NaN are left out.

    Raises:
        UserError: shapes that do not match, more labels asked for than there are, or one class only;
            scikit-learn is missing.
    """
    train, test = _known(train_codes, train_labels, "training"), _known(test_codes, test_labels, "test")
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


def _known(features: Any, labels: Any, which: str) -> Labelled:
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    x = x.reshape(len(x), -1)
    if y.ndim != 1 or len(x) != len(y):
        raise UserError(
            f"got {len(x)} {which} examples and labels of shape {y.shape}: give one label an example"
        )
    known = ~np.isnan(y) if y.dtype.kind == "f" else np.ones(len(y), bool)
    return x[known], y[known]


def _is_real(labels: Array) -> bool:
    """Whether labels are numbers to be told as such."""
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
    """What to take from features (N, D) and to divide them by: each by its own deviation, or all by one.

    The first is fair to features of different units, the second does not raise dims that have collapsed.
    """
    mean, each = features.mean(0), features.std(0)
    each[each <= 1e-12 * np.abs(mean)] = np.inf  # features that never change: 0
    one = np.sqrt((each[np.isfinite(each)] ** 2).sum() / len(each)) or np.inf
    return mean, each, np.full_like(each, one)


def _score(train: Labelled, test: Labelled, scales: tuple[Array, Array, Array], n: int, seed: int) -> float:
    """On the test, of what cross-validates best on n labelled examples."""
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
    """The same in at most n features: a rotation, to which a squared penalty is blind."""
    if x.shape[1] <= x.shape[0]:
        return x, test
    axes = np.linalg.svd(x, full_matrices=False)[2].T  # (D, n)
    return x @ axes, test @ axes


def _models(real: bool) -> list[Any]:
    """From the most to the least penalised."""
    linear = import_sklearn("linear_model")
    if real:
        return [linear.Ridge(alpha=alpha) for alpha in PENALTIES]
    return [linear.LogisticRegression(C=strength, max_iter=300) for strength in STRENGTHS]


def _cross_validate(x: Array, y: Array, folds: Array, models: Sequence[Any]) -> tuple[float, Any]:
    """The best mean score over folds, and the first model that has it, fitted on all."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", import_sklearn("exceptions").ConvergenceWarning
        )  # the weakest penalties
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
    """The numbers of n of the examples labelled (N,), each class in proportion, at random within it."""
    draws, quota = _draws("rows", len(labels), seed), np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        quota[rows[draws[rows].argsort(kind="stable")]] = (np.arange(len(rows)) + 0.5) / len(rows)
    return quota.argsort(kind="stable")[:n]


def balanced_folds(labels: Array, seed: int) -> Array:
    """(N,): the fold of each example labelled (N,), every class spread over all folds."""
    classes = np.unique(labels, return_inverse=True)[1]
    folds = np.empty(len(labels), np.int64)
    folds[np.lexsort((_draws("folds", len(labels), seed), classes))] = np.arange(len(labels)) % FOLDS
    return folds


def _draws(stream: str, n: int, seed: int) -> Array:
    return np.asarray(KeyedNoise(seed, 0, torch.arange(n)).uniform(f"probe/{stream}"))
