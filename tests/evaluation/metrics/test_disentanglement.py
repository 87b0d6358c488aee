"""Disentanglement of codes with known scores: perfect, rotated, random, and invariances."""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import numpy as np
import pytest

from seqvae.errors import UserError
from seqvae.evaluation.metrics import beta_factor_vae
from seqvae.evaluation.metrics import factors as ready
from seqvae.evaluation.metrics.dci import dci
from seqvae.evaluation.metrics.disentanglement import (
    beta_vae_score,
    disentanglement,
    factor_vae_score,
    mig,
    sap,
)
from seqvae.evaluation.metrics.mig_sap import (
    histogram_information,
    predictability,
    shared_information,
    top_two_gap,
)

N, NAMES = 1200, ("shape", "scale", "x")
VOTES = 900
Array = Any


def made_factors(n: int = N, seed: int = 0) -> Array:
    """(n, 3): three classes, five, and a real one."""
    draw = np.random.default_rng(seed)
    return np.stack([draw.integers(0, 3, n), draw.integers(0, 5, n), draw.uniform(-1, 1, n)], 1)


def perfect_codes(factors: Array, noise: int = 3, seed: int = 1) -> Array:
    """A dim a factor, exactly, and dims of noise."""
    draw = np.random.default_rng(seed)
    return np.concatenate(
        [(factors - factors.mean(0)) / factors.std(0), draw.normal(size=(len(factors), noise))], 1
    )


# no row and no column has one large entry
MIXED = np.eye(3) - 2 / 3


def scores(codes: Array, factors: Array) -> dict[str, float]:
    """One number a measure."""
    found = dci(codes, factors)
    return {
        "beta_vae": beta_vae_score(codes, factors, votes=VOTES),
        "factor_vae": factor_vae_score(codes, factors, votes=VOTES),
        "mig": float(mig(codes, factors).mean()),
        "sap": float(sap(codes, factors).mean()),
        "disentanglement": found.disentanglement,
        "completeness": float(found.completeness.mean()),
        "informativeness": float(found.informativeness.mean()),
    }


@pytest.fixture(scope="module")
def factors() -> Array:
    return made_factors()


@pytest.fixture(scope="module")
def perfect(factors: Array) -> dict[str, float]:
    return scores(perfect_codes(factors), factors)


def test_perfect_codes_score_one(perfect: dict[str, float]) -> None:
    assert perfect["beta_vae"] > 0.99
    assert perfect["factor_vae"] == 1
    assert perfect["mig"] > 0.95  # noise dims share a little by chance
    assert perfect["sap"] > 0.95
    assert perfect["disentanglement"] > 0.98
    assert perfect["completeness"] > 0.98
    assert perfect["informativeness"] > 0.99


def test_rotated_codes_keep_information_but_not_alignment(factors: Array, perfect: dict[str, float]) -> None:
    codes = perfect_codes(factors)
    codes[:, :3] = codes[:, :3] @ MIXED
    rotated = scores(codes, factors)
    assert rotated["mig"] < 0.3 * perfect["mig"]
    assert rotated["sap"] < 0.6 * perfect["sap"]
    assert rotated["disentanglement"] < 0.6 * perfect["disentanglement"]
    assert rotated["completeness"] < 0.7 * perfect["completeness"]
    assert rotated["informativeness"] > 0.85


def test_random_codes_score_nothing(factors: Array) -> None:
    random = scores(np.random.default_rng(3).normal(size=(N, 6)), factors)
    assert random["beta_vae"] == pytest.approx(1 / 3, abs=0.1)  # chance
    assert random["factor_vae"] == pytest.approx(1 / 3, abs=0.1)
    assert random["mig"] < 0.02
    assert random["sap"] < 0.06
    assert random["disentanglement"] < 0.03
    assert random["completeness"] < 0.03
    error = dci(np.random.default_rng(3).normal(size=(N, 6)), factors).test_error
    assert error[0] == pytest.approx(2 / 3, abs=0.08)
    assert error[1] == pytest.approx(4 / 5, abs=0.08)
    assert error[2] == pytest.approx(1, abs=0.1)  # no better than the mean


def test_permuting_flipping_and_scaling_dims_changes_nothing(
    factors: Array, perfect: dict[str, float]
) -> None:
    codes = perfect_codes(factors)
    codes[:, :3] = codes[:, :3] + 0.3 * codes[:, :3] @ MIXED  # neither perfect nor hopeless
    before = scores(codes, factors)
    assert before["mig"] < 0.8 * perfect["mig"]
    order, factor = np.random.default_rng(4).permutation(6), np.array([5.0, -0.5, 2.0, -8.0, 1.0, -1.0])
    after = scores((codes * factor)[:, order], factors)
    assert after == pytest.approx(before, abs=0.02)
    for measure in ("mig", "sap", "factor_vae"):
        assert after[measure] == pytest.approx(before[measure], abs=2e-3), measure


def test_one_dim_for_two_factors_is_complete_but_not_disentangled() -> None:
    pair = np.random.default_rng(5).integers(0, 3, (N, 2)).astype(float)
    codes = np.stack([3 * pair[:, 0] + pair[:, 1], np.random.default_rng(6).normal(size=N)], 1)
    found = dci(codes, pair)
    assert found.completeness.min() > 0.95
    assert found.disentanglement < 0.05
    assert found.informativeness.min() > 0.99


def test_two_dims_for_one_factor_are_disentangled_but_not_complete() -> None:
    x = np.random.default_rng(7).uniform(-1, 1, (N, 2))
    codes = np.stack([np.abs(x[:, 0]), np.sign(x[:, 0]), x[:, 1]], 1)  # the first factor in two halves
    found = dci(codes, x)
    assert found.disentanglement > 0.95
    assert found.completeness[1] > 0.95 > 0.8 > found.completeness[0]
    # of H(x) = ln 20 the size has ln 10 and the sign ln 2
    assert mig(codes, x)[0] == pytest.approx(math.log(10 / 2) / math.log(20), abs=0.05)


def test_gap_of_known_scores() -> None:
    assert top_two_gap(np.array([[0.5, 0.1], [0.2, 0.9], [0.4, 0.3]])).tolist() == pytest.approx([0.1, 0.6])
    assert top_two_gap(np.array([[0.5, 0.1]])).tolist() == [0.5, 0.1]


def test_histogram_information_of_known_tables() -> None:
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    assert histogram_information(a, a) == pytest.approx(math.log(2))
    assert histogram_information(a, b) == pytest.approx(0, abs=1e-12)
    assert histogram_information(np.array([0, 1, 2, 3]), a) == pytest.approx(math.log(2))


def test_mig_of_a_noisy_switch_is_its_channel_capacity() -> None:
    bit = np.repeat([0.0, 1.0], 5000)
    flipped = np.tile([1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1000)  # one in ten is wrong
    codes = np.stack([np.abs(bit - flipped), np.zeros(10000)], 1)
    capacity = 1 + (0.1 * math.log(0.1) + 0.9 * math.log(0.9)) / math.log(2)
    assert mig(codes, bit)[0] == pytest.approx(capacity)
    assert shared_information(codes, bit)[1, 0] == 0
    # thresholds are right nine times in ten, the dead dim five times
    assert sap(codes, bit, adjusted=False)[0] == pytest.approx(0.4, abs=0.01)
    assert sap(codes, bit)[0] == pytest.approx(0.8, abs=0.02)


def test_sap_of_a_real_factor_is_the_gap_of_squared_correlations() -> None:
    draw = np.random.default_rng(8)
    x, e = draw.normal(size=N), draw.normal(size=(N, 2))
    codes = np.stack([x + e[:, 0], x + 2 * e[:, 1], np.ones(N)], 1)
    expected = [np.corrcoef(x, codes[:, j])[0, 1] ** 2 for j in (0, 1)]
    assert predictability(codes, x)[:, 0].tolist() == pytest.approx([*expected, 0.0])
    assert sap(codes, x)[0] == pytest.approx(expected[0] - expected[1])


def test_unknown_values_are_left_out(factors: Array) -> None:
    codes, holes = perfect_codes(factors), factors.copy()
    holes[::3, 0] = np.nan
    known = ~np.isnan(holes[:, 0])
    assert mig(codes, holes)[1:].tolist() == mig(codes, factors)[1:].tolist()
    assert sap(codes, holes)[0] == sap(codes[known], holes[known])[0]
    found = scores(codes, holes)
    assert min(found.values()) > 0.95


def test_collapsed_dims_do_not_vote(factors: Array) -> None:
    codes = perfect_codes(factors)
    dead = np.concatenate([codes, 0.01 * codes[:, :3] @ MIXED, np.zeros((N, 1))], 1)
    assert factor_vae_score(dead, factors, votes=VOTES) == 1
    assert factor_vae_score(dead, factors, votes=VOTES, min_std=0.0) > 0.9  # a dim of zeros is no danger
    assert factor_vae_score(np.zeros((N, 4)), factors) == 1 / 3
    assert beta_vae_score(np.zeros((N, 4)), factors) == 1 / 3


def test_pairs_and_batches_share_the_value() -> None:
    classes = np.repeat([0, 1, 2, 3], [300, 100, 10, 3])
    shared = beta_factor_vae.FactorGroups.of(0, classes, np.random.default_rng(9).permutation(413))
    a, b = shared.pairs(ready.keyed_uniform("test", 40, 64, 0))
    assert a.shape == b.shape == (40, 32)
    assert (classes[a] == classes[b]).all()
    assert (a != b).all()
    rows = shared.batches(ready.keyed_uniform("test", 200, 33, 0))
    assert rows.shape == (200, 32)
    assert (classes[rows] == classes[rows[:, :1]]).all()
    assert set(classes[rows].ravel()) == {0, 1, 2}  # three examples are too few
    share = (classes[rows[:, 0]] == 0).mean()
    assert share == pytest.approx(300 / 410, abs=0.12)  # a value as often as it is


def test_halves_are_a_seeded_cut() -> None:
    a, b = ready.split_in_halves(101, seed=0)
    assert sorted([*a, *b]) == list(range(101))
    assert (len(a), len(b)) == (50, 51)
    assert (
        ready.split_in_halves(101, 0)[0].tolist() == a.tolist() != ready.split_in_halves(101, 1)[0].tolist()
    )


def test_classes_of_numbers() -> None:
    assert ready.as_classes(np.array([7.0, np.nan, -1, 7])).tolist() == [1, -1, 0, 1]
    many = ready.as_classes(np.linspace(0, 1, 401))
    assert (many.min(), many.max()) == (0, 19)
    assert set(np.bincount(many)) == {20, 21}
    assert ready.bin_equal_width(np.array([0.0, 0.49, 0.5, 1.0]), 2).tolist() == [0, 0, 1, 1]
    assert ready.bin_equal_width(np.ones(3), 5).tolist() == [0, 0, 0]
    # a far value takes the width and leaves bins empty: classes are counted anew
    assert set(ready.as_classes(np.append(np.linspace(0, 1, 60), 1000))) == {0, 1}


def test_everything_at_once(factors: Array) -> None:
    codes = perfect_codes(factors)
    found = disentanglement(codes[:, [3, 1, 4, 2, 5, 0]], factors, NAMES)
    assert json.loads(json.dumps(found)) == found
    assert found["dim_by_factor"] == {"shape": 5, "scale": 1, "x": 3}
    assert (found["n"], found["dims"], found["factors"]) == (N, 6, list(NAMES))
    for measure in ("mig", "sap", "dci_completeness", "dci_informativeness"):
        by_factor = found[f"{measure}_by_factor"]
        assert list(by_factor) == list(NAMES)
        assert sum(by_factor.values()) / 3 == pytest.approx(found[measure])
        assert found[measure] > 0.95
    assert min(found["beta_vae"], found["factor_vae"], found["dci_disentanglement"]) > 0.98
    assert found["dci_test_error"] < 0.05
    assert disentanglement(codes, factors, NAMES) == disentanglement(codes, factors, NAMES)


def test_one_factor_has_nothing_to_be_mixed_with(factors: Array) -> None:
    found = disentanglement(perfect_codes(factors)[:, :1], factors[:, 0], ["shape"])
    for undefined in ("beta_vae", "factor_vae", "dci_disentanglement", "dci_completeness"):
        assert found[undefined] is None
    assert found["dci_completeness_by_factor"] == {"shape": None}
    assert found["mig"] == pytest.approx(1)
    assert "NaN" not in json.dumps(found)


def _says(text: str, codes: Array, factors: Array, names: tuple[str, ...] = NAMES) -> None:
    with pytest.raises(UserError, match=text):
        disentanglement(codes, factors, names)


def test_errors_say_what_was_wrong(factors: Array) -> None:
    codes = perfect_codes(factors)
    _says(r"got codes \(1200, 6\) and factors \(10, 3\): give \(N, D\) and \(N, F\)", codes, factors[:10])
    _says(r"got codes \(1200,\) and", codes[:, 0], factors)
    _says(r"got 40 examples to measure disentanglement on: give 100 or more", codes[:40], factors[:40])
    _says(r"got 2 names for 3 factors", codes, factors, ("a", "b"))
    constant, rare = factors.copy(), factors.copy()
    constant[:, 1] = 4
    _says(r"factor 'scale' has one value only, 4: leave it out", codes, constant)
    rare[20:, 2] = np.nan
    _says(r"factor 'x' is known for 20 examples: give 100 or leave it out", codes, rare)
    lonely = factors.copy()
    lonely[:, 0] = 0
    lonely[0, 0] = 1
    _says(r"factor 0 \(counted from 0\) has fewer than two values that 10 examples share", codes, lonely)
    codes[3, 3] = np.inf
    _says(r"the codes hold NaN or infinity: only factors may be unknown", codes, factors)


@pytest.mark.parametrize("module", ["tree", "linear_model", "ensemble"])
def test_without_scikit_learn(factors: Array, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"sklearn.{module}", None)
    with pytest.raises(
        UserError, match=r"needs scikit-learn, which is not installed: `pip install 'seqvae\[met"
    ):
        disentanglement(perfect_codes(factors), factors, NAMES)
    assert len(mig(perfect_codes(factors), factors)) == 3  # a histogram needs none


@pytest.mark.long
def test_five_thousand_codes_take_less_than_a_minute() -> None:
    draw = np.random.default_rng(0)
    factors = np.stack([draw.integers(0, k, 5000) for k in (3, 6, 20, 32, 40)], 1).astype(float)
    codes, began = draw.normal(size=(5000, 32)), time.perf_counter()
    disentanglement(codes, factors, list("abcde"))
    assert time.perf_counter() - began < 60
