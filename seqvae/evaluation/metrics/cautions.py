"""When an estimate is not to be trusted: what a report says beside its numbers.

Shapes: N evaluation examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

HEAVY_ESS = 2.0  # effective samples below which one draw carries most of the weight
FEWEST_SAMPLES = 5  # K from which an ESS says something
HEAVY_SHARE = 0.1  # of the examples
FEW_EXAMPLES = 3.0  # effective examples below which a variance is that of outliers
ENOUGH_EXAMPLES = 30  # N from which that is said


def effective_examples(means: Tensor) -> Tensor:
    """(D,): (sum_n c_n)^2 / sum_n c_n^2 of c_n = (E_q z_j - mean_x)^2, from posterior means (N, D).

    How many examples a dim owes its variance to: N / 3 for a normal, near 1 where a single code lies far out;
    NaN where it has no variance.
    """
    parts = (means - means.mean(0)) ** 2
    return parts.sum(0) ** 2 / (parts**2).sum(0)


def variance_error(means: Tensor) -> Tensor:
    """(D,): the standard error of Var_x(E_q z_j) over examples, from posterior means (N, D)."""
    parts = (means - means.mean(0)) ** 2
    spread = ((parts - parts.mean(0)) ** 2).mean(0)  # var() warns where D = 0
    return (spread / len(means)).sqrt()


def heavy_weights(ess: Tensor, samples: int) -> float | None:
    """The share of examples whose ESS (N,) of K = `samples` weights is below 2; None for K < 5."""
    return None if samples < FEWEST_SAMPLES else float((ess < HEAVY_ESS).double().mean())


def cautions(report: Mapping[str, Any]) -> list[str]:
    """What a reader of the report must know, a line each."""
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
    """How sure a count of active units is, from posterior means (N, D) and their variances (D,).

    `active_units_low` and `active_units_high` count at two standard errors below and above the variances,
    `active_units_outlying` those counted that rest on fewer than 3 effective examples; None for few examples.
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
