"""DCI: disentanglement, completeness and informativeness, from the importances of random forests.

Shapes: N examples, D latent dims, F factors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqvae.evaluation.metrics.factors import (
    Floats,
    as_classes,
    is_real,
    split_in_halves,
    standardize,
    validate_factors,
)
from seqvae.evaluation.metrics.optional_deps import import_sklearn

TREES = 30
LEAF = 2  # minimum examples per leaf


@dataclass(frozen=True)
class DCI:
    """The metrics of Eastwood & Williams 2018: `disentanglement` is one number, the others are arrays.

    `importance` (D, F); `per_dim` (D,); `completeness`, `informativeness` and `test_error` (F,). All are in
    [0, 1] except the last two for real factors: R^2 may be below 0, and the error then above 1.
    """

    importance: Floats
    disentanglement: float
    per_dim: Floats
    completeness: Floats
    informativeness: Floats
    test_error: Floats


def dci(codes: Any, factors: Any, seed: int = 0) -> DCI:
    """Disentanglement, completeness and informativeness (Eastwood & Williams 2018) of codes (N, D).

    R_jk is the importance of dim j in a random forest that predicts factor k, trained on half the examples.
    Disentanglement of a dim is 1 - H_F(R_j. / sum_k R_jk), with entropies to the base F; their mean weights a
    dim by sum_k R_jk; completeness of a factor is 1 - H_D(R_.k / sum_j R_jk). On the other half,
    informativeness is accuracy, or R^2 if the factor is real, and the test error is 1 - accuracy, or the
    root mean squared error over the standard deviation. Trees use only the order of codes: scaling dims
    changes nothing, permuting and flipping them no more than another seed. Disentanglement is NaN for
    one factor, completeness for one dim.

    Raises:
        UserError: see `validate_factors`; scikit-learn is missing.
    """
    codes, factors = validate_factors(codes, factors)
    codes = standardize(codes)
    columns, informed, errors = zip(*(_forest(codes, values, seed) for values in factors.T), strict=True)
    importance = np.stack(columns, axis=1)  # (D, F)
    per_dim = 1 - _entropy(importance)
    weights = importance.sum(1)
    whole = float((per_dim * weights).sum() / weights.sum()) if weights.sum() > 0 else 0.0
    completeness = 1 - _entropy(importance.T)
    return DCI(importance, whole, per_dim, completeness, np.array(informed), np.array(errors))


def _forest(codes: Floats, values: Floats, seed: int) -> tuple[Floats, float, float]:
    """Importances (D,), informativeness and test error for one factor's values (N,)."""
    known, ensemble = ~np.isnan(values), import_sklearn("ensemble")
    z, real = codes[known], is_real(values)
    y = values[known] if real else as_classes(values)[known]
    learned, scored = split_in_halves(len(z), seed)
    kind = ensemble.RandomForestRegressor if real else ensemble.RandomForestClassifier
    # every split sees all dims: with random subsets, uninformative dims would be used too
    model = kind(n_estimators=TREES, min_samples_leaf=LEAF, max_features=None, random_state=seed)
    model.fit(z[learned], y[learned])
    score = float(model.score(z[scored], y[scored]))  # accuracy, or R^2 = 1 - MSE / variance
    return model.feature_importances_, score, math.sqrt(1 - score) if real else 1 - score


def _entropy(importance: Floats) -> Floats:
    """(A,): entropies of the rows of (A, B), each made to sum to 1, to the base B; 1 for a row of zeros."""
    if importance.shape[1] == 1:
        return np.full(len(importance), math.nan)
    total = importance.sum(1, keepdims=True)
    share = np.divide(
        importance, total, out=np.full_like(importance, 1 / importance.shape[1]), where=total > 0
    )
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    entropy: Floats = -(share * logs).sum(1) / math.log(importance.shape[1])
    return entropy
