"""The scores of beta-VAE and FactorVAE: which factor was held fixed, told from how little codes changed.

The published protocols draw examples with a fixed factor from the generator; here they are picked among the
examples at hand, those with the same value of the factor, and one half of the examples is learned from, the
other scored on. Shapes: N examples, D latent dims, F factors, V votes, L examples or pairs of a vote.
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

MIN_STD = 0.05  # of a dim's means; below, Locatello et al. 2019 (their code) leave it out
VOTES = 15_000  # 10,000 to learn from and 5,000 to score: as there
BATCH = 64  # as there
FEWEST_SHARING = 5  # a value held by fewer examples is not fixed
CELLS = 2**20  # numbers held at once, by a factor of a few


@dataclass(frozen=True)
class FactorGroups:
    """The examples of one half by the value of one factor: `rows` (M,) sorted by it, each with its group."""

    rows: Ints
    starts: Ints  # (M,) where the row's group starts in `rows`
    counts: Ints  # (M,) and how many it holds

    @classmethod
    def of(cls, factor: int, classes: Ints, half: Ints) -> FactorGroups:
        """Those of `half` whose class is known and held by enough.

        Raises:
            UserError: fewer than two classes are.
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
        """Rows (V, L) that share the value of a random row, from draws u (V, L + 1)."""
        first = np.floor(u[:, :1] * len(self.rows)).astype(np.int64)
        return self.rows[self.starts[first] + np.floor(u[:, 1:] * self.counts[first]).astype(np.int64)]

    def pairs(self, u: Floats) -> tuple[Ints, Ints]:
        """Rows (V, L) and as many others that share their value, from draws u (V, 2 L)."""
        u, v = np.split(u, 2, axis=1)
        first = np.floor(u * len(self.rows)).astype(np.int64)
        start, count = self.starts[first], self.counts[first]
        step = 1 + np.floor(v * (count - 1)).astype(np.int64)
        return self.rows[first], self.rows[start + (first - start + step) % count]


def beta_vae_score(
    codes: Any, factors: Any, seed: int = 0, votes: int = VOTES, batch: int = BATCH, min_std: float = MIN_STD
) -> float:
    """Accuracy of telling which factor L pairs of codes share (Higgins et al. 2017); chance is 1 / F.

    A vote's features are the mean over its pairs of |z_a - z_b| (D,); a multinomial logistic regression
    guesses the factor. Codes (N, D) are posterior means; dims whose standard deviation over the examples is
    `min_std` or less are left out as collapsed, the rest standardised, so that permuting, flipping and
    scaling them (as long as `min_std` leaves them in) changes nothing. A rotation can leave the score high.
    NaN for one factor, 1 / F where no dim is left.

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
    """Accuracy of the majority vote: the dim that changes least tells the fixed factor (Kim & Mnih 2018).

    Over L codes that share one factor's value, the dim with the least Var_L(z_j) / Var_N(z_j) votes; each dim
    then stands for the factor that it most often voted for. Chance is about 1 / F. Dims whose standard
    deviation over the examples is `min_std` or less are left out as collapsed. Blind to permuting, flipping
    and scaling dims as long as `min_std` leaves them in. NaN for one factor, 1 / F where no dim is left.

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
    chosen = tables[0].argmax(1)  # (D,) the factor that each dim stands for
    return float(tables[1][np.arange(len(chosen)), chosen].sum() / tables[1].sum())


def _alive(codes: Floats, min_std: float) -> Floats:
    """Standardised, without the dims that hardly change."""
    return standardize(codes[:, codes.std(0) > min_std])


def _without_choice(factors: Floats) -> float:
    return math.nan if factors.shape[1] == 1 else 1 / factors.shape[1]


Kind = Literal["pairs", "batches"]


def _votes(
    codes: Floats, factors: Floats, kind: Kind, sizes: tuple[int, int, int], half: int
) -> tuple[Floats, Ints]:
    """Features (V, D) and fixed factors (V,) from one half: two thirds of the votes from the first one."""
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
    """(V, D) in parts, from draws u: mean differences of pairs, or variances of batches."""
    for part in np.array_split(u, -(-u.size * codes.shape[1] // CELLS)):
        if kind == "pairs":
            a, b = sharing.pairs(part)
            yield np.abs(codes[a] - codes[b]).mean(1)
        else:
            yield codes[sharing.batches(part)].var(1)
