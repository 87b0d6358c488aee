"""The oracles that `seqvae selftest` runs hold here, and a wrong number would not pass."""

from __future__ import annotations

import pytest
import torch

from seqvae.cli import main
from seqvae.evaluation.selftest.checks import GROUPS, Check
from seqvae.evaluation.selftest.linear_vae import linear_data, optimal_distortion, optimal_rates


@pytest.mark.parametrize("group", GROUPS)
def test_every_oracle_holds(group: str) -> None:
    checks = list(GROUPS[group]())
    assert checks
    assert [c for c in checks if not c.holds] == []


def test_a_wrong_number_or_none_does_not_hold() -> None:
    assert Check("", 1.0, 1.05, 0.1).holds
    assert not Check("", 1.0, 1.2, 0.1).holds
    assert not Check("", float("nan"), 1.0, 1e9).holds


def test_a_failing_check_is_shown_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "seqvae.evaluation.selftest.checks.GROUPS",
        {"bad": lambda: iter([Check("two and two", 5.0, 4.0, 0.1)])},
    )
    with pytest.raises(SystemExit, match="1"):
        main(["selftest"])
    told = capsys.readouterr()
    assert "FAIL" in told.out
    assert "two and two" in told.out
    assert "bad ..." in told.err


def test_the_data_have_the_covariance_they_say() -> None:
    x = linear_data((4.0, 1.0), 300).x.double()
    assert x.T @ x / 300 == pytest.approx(torch.tensor([[4.0, 0.0], [0.0, 1.0]]).double(), abs=1e-5)


def test_the_optimum_of_two_axes_by_hand() -> None:
    rates = optimal_rates((4.0, 0.5), 1.0, 1.0)
    assert rates == pytest.approx([0.6931, 0.0], abs=1e-4)
    assert optimal_distortion((4.0, 0.5), 1.0, 1.0) == pytest.approx(0.9189 * 2 + 0.75, abs=1e-4)
