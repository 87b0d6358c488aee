"""The scores of beta-VAE and FactorVAE: classify which factor is fixed from the variation of codes.

The published protocols generate examples with a fixed factor; here they are chosen among the given
examples, those with the same value of the factor. One half of the examples is for training, the other
for testing. Shapes: N examples, D latent dims, F factors, V votes, L examples or pairs of a vote.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from seqvae.errors import UserError
from seqvae.evaluation.metrics.factors import (
    Floats,
    Ints,
    as_classes,
    keyed_uniform,
    split_in_halves,
    standardize,
    validate_factors,
)
from seqvae.evaluation.metrics.optional_deps import import_sklearn

MIN_STD = 0.05  # of a dim's means; the code of Locatello et al. 2019 drops dims below
VOTES = 15_000  # 10,000 for training and 5,000 for testing, as there
BATCH = 64  # as there
FEWEST_SHARING = 5  # values with fewer examples are not used
CELLS = 2**20  # numbers in memory at once, times a small factor


@dataclass(frozen=True)
class FactorGroups:
    """The examples of one half, grouped by the value of one factor: `rows` (M,) sorted by it."""

    rows: Ints
    starts: Ints  # (M,) start of the row's group in `rows`
    counts: Ints  # (M,) size of that group

    @classmethod
    def of(cls, factor: int, classes: Ints, half: Ints) -> FactorGroups:
        """Group the rows of `half` whose class is known and frequent enough.

        Raises:
            UserError: fewer than two such classes.
        """
        rows = half[classes[half] >= 0]
        counts = np.bincount(classes[rows])[classes[rows]]
        rows = rows[counts >= FEWEST_SHARING]
        rows = rows[np.argsort(classes[rows], kind="stable")]
        found, starts, group, counts = np.unique(classes[rows], True, True, True)
        if len(found) < 2:
            raise UserError(
                f"factor {factor} (counted from 0) has fewer than two values that {2 * FEWEST_SHARING} "
                "examples share: give more examples, or leave it out"
            )
        return cls(rows, starts[group], counts[group])

    def batches(self, u: Floats) -> Ints:
        """Rows (V, L) that share the value of a random row, from uniforms u (V, L + 1)."""
        first = np.floor(u[:, :1] * len(self.rows)).astype(np.int64)
        return self.rows[self.starts[first] + np.floor(u[:, 1:] * self.counts[first]).astype(np.int64)]

    def pairs(self, u: Floats) -> tuple[Ints, Ints]:
        """Rows (V, L) and other rows (V, L) that share their values, from uniforms u (V, 2 L)."""
        u, v = np.split(u, 2, axis=1)
        first = np.floor(u * len(self.rows)).astype(np.int64)
        start, count = self.starts[first], self.counts[first]
        step = 1 + np.floor(v * (count - 1)).astype(np.int64)
        return self.rows[first], self.rows[start + (first - start + step) % count]


def beta_vae_score(
    codes: Any, factors: Any, seed: int = 0, votes: int = VOTES, batch: int = BATCH, min_std: float = MIN_STD
) -> float:
    """Accuracy of predicting which factor L pairs of codes share (Higgins et al. 2017); chance is 1 / F.

    A vote's features are the mean over its pairs of |z_a - z_b| (D,); a multinomial logistic regression
    predicts the factor. Dims whose standard deviation over the examples is `min_std` or less are dropped as
    collapsed, the rest standardised, so that the score is invariant to permuting, flipping and scaling dims
    (while `min_std` keeps them). A rotated code may have a high score.

    Args:
        codes: posterior means (N, D).
        factors: factors (N, F), NaN if unknown.
        seed: of the halves and the votes.
        votes: V.
        batch: L.
        min_std: threshold of collapsed dims.

    Returns:
        A score in [0, 1]; NaN for one factor, 1 / F if no dim is left.

    Raises:
        UserError: see `validate_factors` and `FactorGroups.of`; scikit-learn is missing.
    """
    codes, factors = validate_factors(codes, factors)
    codes = _alive(codes, min_std)
    if factors.shape[1] == 1 or codes.shape[1] == 0:
        return _without_choice(factors)
    learned, scored = (_votes(codes, factors, "pairs", (seed, votes, batch), half) for half in (0, 1))
    model = import_sklearn("linear_model").LogisticRegression(max_iter=10_000)
    scaled = import_sklearn("pipeline").make_pipeline(import_sklearn("preprocessing").StandardScaler(), model)
    return float(scaled.fit(*learned).score(*scored))


def factor_vae_score(
    codes: Any, factors: Any, seed: int = 0, votes: int = VOTES, batch: int = BATCH, min_std: float = MIN_STD
) -> float:
    """Accuracy of a majority vote: the dim that varies least predicts the fixed factor (Kim & Mnih 2018).

    Over L codes that share one factor's value, the dim with the lowest Var_L(z_j) / Var_N(z_j) votes. Each
    dim then predicts the factor that it most often voted for. Chance is about 1 / F. Dims whose standard
    deviation over the examples is `min_std` or less are dropped as collapsed. The score is invariant to
    permuting, flipping and scaling dims while `min_std` keeps them.

    Args:
        codes: posterior means (N, D).
        factors: factors (N, F), NaN if unknown.
        seed: of the halves and the votes.
        votes: V.
        batch: L.
        min_std: threshold of collapsed dims.

    Returns:
        A score in [0, 1]; NaN for one factor, 1 / F if no dim is left.

    Raises:
        UserError: see `validate_factors` and `FactorGroups.of`.
    """
    codes, factors = validate_factors(codes, factors)
    codes = _alive(codes, min_std)
    if factors.shape[1] == 1 or codes.shape[1] == 0:
        return _without_choice(factors)
    tables = []
    for half in (0, 1):
        variances, fixed = _votes(codes, factors, "batches", (seed, votes, batch), half)
        tables.append(np.zeros((codes.shape[1], factors.shape[1])))
        np.add.at(tables[half], (variances.argmin(1), fixed), 1)
    chosen = tables[0].argmax(1)  # (D,) the factor that each dim predicts
    return float(tables[1][np.arange(len(chosen)), chosen].sum() / tables[1].sum())


def _alive(codes: Floats, min_std: float) -> Floats:
    """Drop collapsed dims and standardise the rest."""
    return standardize(codes[:, codes.std(0) > min_std])


def _without_choice(factors: Floats) -> float:
    return math.nan if factors.shape[1] == 1 else 1 / factors.shape[1]


Kind = Literal["pairs", "batches"]


def _votes(
    codes: Floats, factors: Floats, kind: Kind, sizes: tuple[int, int, int], half: int
) -> tuple[Floats, Ints]:
    """Features (V, D) and fixed factors (V,) from one half; the first has two thirds of the votes."""
    seed, votes, batch = sizes
    rows = split_in_halves(len(codes), seed)[half]
    each = max(1, votes * (2 - half) // 3 // factors.shape[1])
    features = []
    for factor, values in enumerate(factors.T):
        sharing = FactorGroups.of(factor, as_classes(values), rows)
        places = 2 * batch if kind == "pairs" else batch + 1
        u = keyed_uniform(f"{kind}/{half}/{factor}", each, places, seed)
        features += list(_features(codes, sharing, kind, u))
    return np.concatenate(features), np.repeat(np.arange(factors.shape[1]), each)


def _features(codes: Floats, sharing: FactorGroups, kind: Kind, u: Floats) -> Iterator[Floats]:
    """Features (V, D) in parts, from uniforms u: mean differences of pairs, or variances of batches."""
    for part in np.array_split(u, -(-u.size * codes.shape[1] // CELLS)):
        if kind == "pairs":
            a, b = sharing.pairs(part)
            yield np.abs(codes[a] - codes[b]).mean(1)
        else:
            yield codes[sharing.batches(part)].var(1)
