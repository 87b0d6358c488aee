"""Inequalities that hold for every model: a report that violates one reveals a bug."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

ERRORS_ALLOWED = 4  # standard errors by which a Monte Carlo estimate may violate an inequality
ENOUGH = 30  # number of examples from which a standard error is reliable enough
TAIL = 3.167e-5  # probability of a normal beyond 4 deviations, one side
ROUNDING = 1e-4  # relative: fp32 sums of thousands of nats


@cache
def errors_allowed(n: int) -> float:
    """Allowed standard errors for a mean of `n` examples: 4, or the equally rare quantile of Student's t.

    A standard error from few examples is often far too small: with 4 examples, 1 in 70 means is beyond 4.
    """
    if n >= ENOUGH or n < 2:
        return ERRORS_ALLOWED
    rest = np.linspace(0, math.pi / 2, 1_000_001)  # t = sqrt(n - 1) / tan(rest), of density sin^(n - 2)
    density = np.sin(rest) ** (n - 2)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return math.sqrt(n - 1) / math.tan(float(np.interp(mass[-1] * 2 * TAIL, mass, rest)))


class MeasurementError(RuntimeError):
    """An impossible measurement: a bug in the model or the metric, not a user's mistake."""


def check_report(report: Mapping[str, Any], one_prior: bool = True) -> None:
    """Check a report against inequalities; None values are not checked.

    0 <= MI <= min(rate, ln N); IW-NLL(K) <= -ELBO; IW-NLL falls with K; no number is NaN or infinite.
    Monte Carlo noise may amount to four standard errors (`errors_allowed` for few examples): `mi_se`,
    `rate_se` (over the `mi_n` examples of MI), `iw_gap_se` (of IW-NLL minus -ELBO, by example). IW-NLL at
    different K uses the same weights, so that inequality is exact. MI <= rate holds if all examples have
    `one_prior`: information in the condition c costs nothing under p(z|c), but counts in I(x; z).

    Raises:
        MeasurementError: names the inequality and both sides.
    """
    for name in ("distortion", "rate", "neg_elbo", "iw_nll", "mi_low"):
        _finite(name, report.get(name))
    _check_information(report, one_prior)
    gap_se, n = _number(report, "iw_gap_se"), int(_number(report, "n"))
    _at_most("IW-NLL(K) <= -ELBO", report.get("iw_nll"), report.get("neg_elbo"), gap_se, n)
    by_samples = sorted((int(k), value) for k, value in (report.get("iw_nll_at") or {}).items())
    for (small, above), (large, below) in itertools.pairwise(by_samples):
        _at_most(f"IW-NLL falls with K: IW-NLL({large}) <= IW-NLL({small})", below, above, 0.0)


def _check_information(report: Mapping[str, Any], one_prior: bool) -> None:
    mi, mi_se = report.get("mi_low"), _number(report, "mi_se")
    n = _number(report, "mi_n") or _number(report, "n")
    rate_se = _number(report, "rate_se") * math.sqrt(_number(report, "n") / n) if n else 0.0
    _at_most("0 <= MI", 0.0, mi, mi_se, int(n))
    if one_prior:
        _at_most("MI <= rate", mi, report.get("rate"), math.hypot(mi_se, rate_se), int(n))
    _at_most("MI <= ln N", mi, math.log(n) if n else None, 0.0)  # holds exactly for every code


def _number(report: Mapping[str, Any], name: str) -> float:
    return float(report.get(name) or 0.0)


def _finite(name: str, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        raise MeasurementError(f"{name} is {value}: the model's numbers are not finite")


def _at_most(name: str, small: float | None, large: float | None, se: float, n: int = ENOUGH) -> None:
    if small is None or large is None:
        return
    errors = errors_allowed(n)
    allowed = errors * se + ROUNDING * max(1.0, abs(small), abs(large))
    if small > large + allowed:
        raise MeasurementError(
            f"{name} does not hold: {small:.6g} > {large:.6g} by more than {allowed:.2g} "
            f"({errors:.3g} standard errors and rounding)"
        )
