"""Schedules of beta at points with known values."""

from __future__ import annotations

import math

import pytest
import torch

from seqvae.interfaces import Remedy, RunContext
from seqvae.objectives import ELBO
from seqvae.remedies import REMEDIES
from seqvae.remedies.schedules import (
    ConstantBeta,
    CosineAnnealing,
    CyclicalAnnealing,
    LinearAnnealing,
    SigmoidAnnealing,
    cosine,
    cyclical,
    linear,
    sigmoid,
)

FACTS = RunContext(total_steps=1000, examples=100, batch_size=10, latent_dim=2)
RISES = ["linear_annealing", "cosine_annealing", "sigmoid_annealing"]


def attached(remedy: Remedy, facts: RunContext = FACTS) -> Remedy:
    remedy.attach(torch.nn.Module(), facts)
    return remedy


def betas(remedy: Remedy, steps: int = 1000) -> list[float]:
    return [float(remedy.beta(step)) for step in range(steps)]


def test_linear_points() -> None:
    assert [linear(t, 40) for t in (0, 10, 20, 40, 41, 10**6)] == [0, 0.25, 0.5, 1, 1, 1]


def test_cosine_points() -> None:
    wanted = [0, 0.5 * (1 - math.sqrt(0.5)), 0.5, 1, 1]
    assert [cosine(t, 40) for t in (0, 10, 20, 40, 999)] == pytest.approx(wanted)


def test_sigmoid_points() -> None:
    assert sigmoid(2500, 2500, 0.0025) == 0.5
    assert sigmoid(2500 + 400, 2500, 0.0025) == pytest.approx(1 / (1 + math.exp(-1)))
    assert sigmoid(0, 2500, 0.0025) + sigmoid(5000, 2500, 0.0025) == pytest.approx(1)
    assert sigmoid(0, 10**6, 10.0) == 0  # no overflow
    assert sigmoid(10**7, 10**6, 10.0) == 1


def test_cyclical_points() -> None:
    """4 cycles of 100 over 400 updates, rising over the first half of each."""
    points = {0: 0, 25: 0.5, 49: 0.98, 50: 1, 99: 1, 100: 0, 125: 0.5, 350: 1, 399: 1, 400: 1, 5000: 1}
    assert {t: cyclical(t, 400, 4, 0.5) for t in points} == pytest.approx(points)
    assert [cyclical(t, 10, 1, 1.0) for t in range(11)] == pytest.approx([t / 10 for t in range(11)])


def test_cyclical_is_periodic() -> None:
    one = [cyclical(t, 1000, 4, 0.3) for t in range(1000)]
    assert one[:250] == one[250:500] == one[500:750] == one[750:]


@pytest.mark.parametrize("cycles", range(1, 13))
def test_every_cycle_starts_at_zero(cycles: int) -> None:
    """Also where the length of a cycle is no binary fraction: 5 % (10 / 6) is 1.67, not 0."""
    for total in range(1, 200):
        starts = [k * total // cycles for k in range(cycles) if k * total % cycles == 0]
        assert [cyclical(t, total, cycles, 0.5) for t in starts] == [0] * len(starts), total


def test_defaults_are_the_stated_shares_of_the_run() -> None:
    for made in (LinearAnnealing, CosineAnnealing):
        remedy = attached(made())
        assert remedy.schedule_end() == 300
        assert float(remedy.beta(150)) == pytest.approx(0.5)
    remedy = attached(SigmoidAnnealing())
    assert float(remedy.beta(150)) == 0.5
    assert float(remedy.beta(165)) == pytest.approx(1 / (1 + math.exp(-1)))  # k = 10 / 150
    assert float(attached(CyclicalAnnealing()).beta(125)) == 1


def test_given_lengths_are_kept() -> None:
    assert attached(LinearAnnealing(7)).schedule_end() == 7
    assert attached(SigmoidAnnealing(midpoint=20)).beta(20) == 0.5
    slow = attached(SigmoidAnnealing(midpoint=100, slope=0.01))
    assert float(slow.beta(200)) == pytest.approx(1 / (1 + math.exp(-1)))
    assert slow.schedule_end() == math.ceil(100 + math.log(99) / 0.01)


@pytest.mark.parametrize("total", [1, 2, 3, 7])
@pytest.mark.parametrize("name", [*RISES, "cyclical_annealing"])
def test_the_shortest_runs_have_a_beta(name: str, total: int) -> None:
    remedy = attached(REMEDIES[name](), RunContext(total, 5, 5, 2))
    assert all(0 <= value <= 1 for value in betas(remedy, total + 2))


@pytest.mark.parametrize("name", RISES)
def test_rises_never_fall(name: str) -> None:
    values = betas(attached(REMEDIES[name]()))
    assert values == sorted(values)
    assert values[0] < 0.01
    assert values[-1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", [*RISES, "cyclical_annealing", "constant_beta"])
def test_settled_is_when_beta_has_stopped(name: str) -> None:
    remedy = attached(REMEDIES[name]())
    settled, values = remedy.schedule_end(), betas(remedy, 1200)
    assert all(abs(value - values[-1]) <= 0.01 + 1e-9 for value in values[settled:])
    if settled:
        assert values[settled - 1] < values[settled] or abs(values[settled - 1] - values[-1]) > 0.01


@pytest.mark.parametrize(("cycles", "ratio"), [(4, 0.5), (1, 1.0), (3, 0.7), (7, 0.2), (10, 0.1)])
def test_last_plateau_of_cycles(cycles: int, ratio: float) -> None:
    remedy = attached(CyclicalAnnealing(cycles, ratio))
    settled = remedy.schedule_end()
    assert betas(remedy, 1001)[settled:] == pytest.approx([1.0] * (1001 - settled))
    if settled < 1000:
        assert float(remedy.beta(settled - 2)) < 1


def test_constant() -> None:
    remedy = attached(ConstantBeta(0.3))
    assert betas(remedy, 3) == [0.3] * 3
    assert remedy.schedule_end() == 0


def test_factors_multiply_and_the_last_one_settles() -> None:
    objective = ELBO([ConstantBeta(0.5), attached(LinearAnnealing(100)), attached(CosineAnnealing(400))])
    assert objective.beta(50) == pytest.approx(0.5 * 0.5 * cosine(50, 400))
    assert objective.beta(10**6) == pytest.approx(0.5)
    assert objective.schedule_end() == 400
    assert ELBO([]).beta(3) == 1
    assert ELBO([]).schedule_end() == 0
