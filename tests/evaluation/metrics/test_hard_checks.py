"""Impossible reports are refused by name; noise of four standard errors is not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from seqvae.evaluation.metrics.checks import MeasurementError, check_report, errors_allowed

GOOD: dict[str, Any] = {
    "n": 100, "rate": 5.0, "rate_se": 0.1, "distortion": 95.0, "neg_elbo": 100.0, "iw_nll": 98.0,
    "iw_nll_at": {"1": 100.0, "10": 98.5, "20": 98.0}, "iw_gap_se": 0.1, "mi_low": 3.0, "mi_se": 0.1,
    "mi_n": 100,
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mi_low": -0.5}, r"^0 <= MI does not hold: 0 > -0\.5 by more than 0\.4"),
        ({"mi_low": 4.0, "rate": 3.0}, r"^MI <= rate does not hold: 4 > 3"),
        ({"mi_low": 4.7}, r"^MI <= ln N does not hold: 4\.7 > 4\.60517"),
        ({"mi_low": 4.0, "mi_n": 50}, r"^MI <= ln N does not hold: 4 > 3\.912"),
        ({"iw_nll": 100.5, "iw_nll_at": {}}, r"^IW-NLL\(K\) <= -ELBO does not hold: 100\.5 > 100"),
        ({"iw_nll_at": {"1": 100.0, "10": 98.5, "20": 98.6}}, r"falls with K: IW-NLL\(20\) <= IW-NLL\(10\)"),
        ({"iw_nll_at": {"1": 98.0, "9": 98.1, "10": 98.0}}, r"falls with K: IW-NLL\(9\) <= IW-NLL\(1\)"),
        ({"rate": math.nan}, r"^rate is nan: the model's numbers are not finite"),
        ({"iw_nll": math.inf}, r"^iw_nll is inf"),
    ],
)
def test_impossible_reports_fail_loudly(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        check_report(GOOD | wrong)


@pytest.mark.parametrize(
    "noisy",
    [
        {},
        {"mi_low": -0.3},
        {"mi_low": 3.3, "rate": 3.0},
        {"iw_nll": 100.3},
        {"iw_nll": None, "neg_elbo": None, "rate": None, "mi_low": None, "iw_nll_at": None},
        {"mi_se": math.nan, "rate_se": math.nan, "iw_gap_se": math.nan, "n": 1, "mi_n": 1, "mi_low": 0.0},
    ],
)
def test_noise_and_what_does_not_apply_pass(noisy: dict[str, Any]) -> None:
    check_report(GOOD | noisy)


def test_a_subset_is_given_the_room_of_its_size() -> None:
    check_report(
        GOOD | {"n": 10_000, "mi_low": 4.0, "rate": 3.0, "rate_se": 0.03}
    )  # .3 over the 100 of the MI


def test_mi_may_exceed_the_rate_under_a_conditional_prior() -> None:
    check_report(GOOD | {"mi_low": 4.0, "rate": 3.0}, one_prior=False)


@pytest.mark.parametrize(
    ("n", "quantile"), [(2, 10050), (3, 125.6), (4, 32.62), (11, 6.567), (30, 4.0), (1000, 4.0)]
)
def test_few_examples_are_allowed_more_errors(n: int, quantile: float) -> None:
    """Quantiles of Student's t of n - 1 degrees at a normal's tail beyond 4."""
    assert errors_allowed(n) == pytest.approx(quantile, rel=1e-3)
    check_report(
        GOOD | {"n": 4, "iw_nll": 100.9, "iw_nll_at": {}, "iw_gap_se": 0.05, "mi_low": 1.0, "mi_n": 4}
    )
