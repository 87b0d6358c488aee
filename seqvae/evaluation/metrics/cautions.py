"""Cautions: lines in a report about estimates that are not reliable.

Shapes: N evaluation examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

HEAVY_ESS = 2.0  # effective samples below which one sample carries most of the weight
FEWEST_SAMPLES = 5  # lowest K for which an ESS is meaningful
HEAVY_SHARE = 0.1  # fraction of the examples
FEW_EXAMPLES = 3.0  # effective examples below which outliers dominate a variance
ENOUGH_EXAMPLES = 30  # lowest N for which that is reported


def effective_examples(means: Tensor) -> Tensor:
    """(D,): (sum_n c_n)^2 / sum_n c_n^2 of c_n = (E_q z_j - mean_x)^2, from posterior means (N, D).

    The number of examples that make up a dim's variance: N / 3 for a normal, near 1 for one outlier;
    NaN if the variance is 0.
    """
    parts = (means - means.mean(0)) ** 2
    return parts.sum(0) ** 2 / (parts**2).sum(0)


def variance_error(means: Tensor) -> Tensor:
    """(D,): the standard error of Var_x(E_q z_j) over examples, from posterior means (N, D)."""
    parts = (means - means.mean(0)) ** 2
    spread = ((parts - parts.mean(0)) ** 2).mean(0)  # not var(), which warns if D = 0
    return (spread / len(means)).sqrt()


def heavy_weights(ess: Tensor, samples: int) -> float | None:
    """Fraction of examples whose ESS (N,) of K = `samples` weights is below 2; None for K < 5."""
    return None if samples < FEWEST_SAMPLES else float((ess < HEAVY_ESS).double().mean())


def cautions(report: Mapping[str, Any]) -> list[str]:
    """The cautions of a report, one line each."""
    found, share = [], report.get("heavy_weights")
    if share is not None and share > HEAVY_SHARE:
        found.append(
            f"iw_nll: at {share:.0%} of the examples one of the {report['iw_samples']} samples carries most "
            "of the weight (ESS below 2): it is an upper bound that more samples would lower, and its error "
            "is larger than iw_nll_se"
        )
    if outlying := report.get("active_units_outlying"):
        found.append(
            f"active_units: {outlying} of the {report['active_units']} dims owe their variance to fewer than "
            f"{FEW_EXAMPLES:.0f} examples: they are outliers rather than units"
        )
    return found


def unit_errors(means: Tensor, variance: Tensor, threshold: float) -> dict[str, int | None]:
    """Uncertainty of the number of active units, from posterior means (N, D) and their variances (D,).

    `active_units_low` and `active_units_high` count at two standard errors below and above the variances,
    `active_units_outlying` counts active units with fewer than 3 effective examples; None for few examples.
    """
    if len(means) < 2:
        return {}
    spread = 2 * variance_error(means)
    active = variance > threshold
    outlying = int((active & (effective_examples(means) < FEW_EXAMPLES)).sum())
    return {
        "active_units_low": int((variance - spread > threshold).sum()),
        "active_units_high": int((variance + spread > threshold).sum()),
        "active_units_outlying": outlying if len(means) >= ENOUGH_EXAMPLES else None,
    }
