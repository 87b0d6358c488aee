"""MIG and SAP: the gap between the two dims that are most informative about a factor.

Shapes: N examples, D latent dims, F factors, K classes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.evaluation.metrics.factors import (
    BINS,
    Floats,
    Ints,
    as_classes,
    bin_equal_width,
    is_real,
    split_in_halves,
    validate_factors,
)
from seqvae.evaluation.metrics.optional_deps import import_sklearn


def top_two_gap(scores: Floats) -> Floats:
    """(F,): the largest minus the second largest over dims, from (D, F); with one dim the second is 0."""
    ordered = np.sort(
        np.vstack([scores, np.zeros_like(scores[:1])] if len(scores) == 1 else [scores]), axis=0
    )
    difference: Floats = ordered[-1] - ordered[-2]
    return difference


def mig(codes: Any, factors: Any, bins: int = BINS) -> Floats:
    """(F,): the mutual information gap of each factor, in [0, 1] (Chen et al. 2018).

    (I(z_1st; v) - I(z_2nd; v)) / H(v) for the two dims with the highest I(z_j; v). Codes (N, D) are
    posterior means in `bins` bins of equal width, as in the code of Locatello et al. 2019; Chen et al.
    integrate over q(z|x) instead. With N examples, I of independent variables is about
    (bins - 1) (K - 1) / 2N nats instead of 0. Invariant to permuting, scaling and flipping dims.

    Raises:
        UserError: see `validate_factors`.
    """
    return top_two_gap(shared_information(codes, factors, bins))


def shared_information(codes: Any, factors: Any, bins: int = BINS) -> Floats:
    """(D, F): I(z_j; v_k) / H(v_k), the fraction of a factor's entropy that one dim explains."""
    codes, factors = validate_factors(codes, factors)
    entropies = [histogram_information(known, known) for known, _ in map(_select_known, factors.T)]
    shared: Floats = factor_information(codes, factors, bins) / np.array(entropies)
    return shared


def factor_information(codes: Any, factors: Any, bins: int = BINS, beyond_chance: bool = False) -> Floats:
    """(D, F): I(z_j; v_k) in nats, from histograms of `bins` bins of equal width.

    With `beyond_chance` the bias under independence is subtracted and insignificant values become 0: under
    independence 2 N I is chi-squared with r = (used bins - 1) (K - 1) degrees of freedom (Wilks 1938), so the
    result is I - r / 2N if 2 N I is more than 3 standard deviations, 3 sqrt(2 r), above r.

    Raises:
        UserError: see `validate_factors`.
    """
    codes, factors = validate_factors(codes, factors)
    binned = np.stack([bin_equal_width(column, bins) for column in codes.T])  # (D, N)
    estimate = _beyond_chance if beyond_chance else histogram_information
    columns = []
    for classes, known in map(_select_known, factors.T):
        cells = [(row[known], classes) for row in binned]
        columns.append([estimate(*pair) for pair in cells])
    return np.array(columns).T


def _select_known(values: Floats) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The classes of the known ones of values (N,), and a mask (N,) of them."""
    classes = as_classes(values)
    return classes[classes >= 0], classes >= 0


def _beyond_chance(a: Ints, b: Ints) -> float:
    freedom = (len(np.unique(a)) - 1) * (len(np.unique(b)) - 1)
    twice = 2 * len(a) * histogram_information(a, b)
    return (twice - freedom) / (2 * len(a)) if twice > freedom + 3 * math.sqrt(2 * freedom) else 0.0


def histogram_information(a: Ints, b: Ints) -> float:
    """I(a; b) in nats, from the joint histogram of the classes a (N,) and b (N,)."""
    width = int(b.max()) + 1
    joint = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width).reshape(-1, width) / len(a)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    occurs = joint > 0  # 0 ln 0 is 0
    return float((joint[occurs] * np.log(joint[occurs] / independent[occurs])).sum())


def sap(codes: Any, factors: Any, seed: int = 0, adjusted: bool = True) -> Floats:
    """(F,): the separated attribute predictability of each factor, in [0, 1] (Kumar et al. 2018).

    The gap between the scores of the two best single dims. A real factor's score is the R^2 of a linear
    regression; that of K classes is the balanced accuracy of thresholds, trained on one half of the examples
    and tested on the other. Chance is then 1 / K, so that a perfect code has a gap of 1 - 1 / K: `adjusted`
    maps chance to 0 and 1 to 1, which the published score does not. Invariant to permuting, scaling and
    flipping dims.

    Raises:
        UserError: see `validate_factors`; scikit-learn is missing.
    """
    return top_two_gap(predictability(codes, factors, seed, adjusted))


def predictability(codes: Any, factors: Any, seed: int = 0, adjusted: bool = True) -> Floats:
    """(D, F): the score of each single dim for each factor, as defined in `sap`."""
    codes, factors = validate_factors(codes, factors)
    columns = []
    for values in factors.T:
        known = ~np.isnan(values)
        if is_real(values):
            columns.append(_line_fits(codes[known], values[known]))
        else:
            classes = as_classes(values)[known]
            columns.append(_thresholds_fit(codes[known], classes, seed, adjusted))
    return np.array(columns).T


def _line_fits(codes: Floats, values: Floats) -> Floats:
    """(D,): R^2 of values (N,) on each dim."""
    z, y = codes - codes.mean(0), values - values.mean()
    spread = (z**2).sum(0) * (y**2).sum()
    # a constant dim or factor has R^2 = 0, not 0 / 0
    fits: Floats = np.divide(
        (z * y[:, None]).sum(0) ** 2, spread, out=np.zeros(len(spread)), where=spread > 0
    )
    return fits


def _thresholds_fit(codes: Floats, classes: Ints, seed: int, adjusted: bool) -> Floats:
    """(D,): balanced accuracy of a tree of at most 2 K leaves on each dim."""
    learned, scored = split_in_halves(len(codes), seed)
    # a class may need both ends of an interval, so K classes need up to 2 K leaves
    tree = import_sklearn("tree").DecisionTreeClassifier(
        max_leaf_nodes=2 * (int(classes.max()) + 1), class_weight="balanced", random_state=0
    )
    fits = []
    for z in codes.T[:, :, None]:
        guess = tree.fit(z[learned], classes[learned]).predict(z[scored])
        fits.append(_balanced_accuracy(guess == classes[scored], classes[scored], adjusted))
    return np.array(fits)


def _balanced_accuracy(right: Any, classes: Ints, adjusted: bool) -> float:
    """Balanced accuracy over the classes that occur; with `adjusted`, chance is mapped to 0."""
    counts = np.bincount(classes)
    shares = np.bincount(classes, right.astype(float))[counts > 0] / counts[counts > 0]
    chance = 1 / len(shares)
    return max(0.0, (float(shares.mean()) - chance) / (1 - chance)) if adjusted else float(shares.mean())
