"""Controllers reach their targets and do not wind up."""

from __future__ import annotations

import pytest
import torch

from seqvae.interfaces.outputs import Loss
from seqvae.remedies.controllers import GECO, ControlVAE, pi_control


def loss(rate: float, distortion: float = 100.0) -> Loss:
    r, d = torch.tensor(rate), torch.tensor(distortion)
    return Loss(r + d, r, d, r[None], 1.0)


def test_pi_control_holds_the_rate_of_a_plant_that_answers_beta() -> None:
    remedy = ControlVAE(nats=8.0, ki=1e-3)
    rate = 30.0
    for step in range(4000):
        beta = float(remedy.beta(step))
        rate += 0.1 * (2.0 / (beta + 0.05) - rate)  # a lower beta lets the rate rise: 8 nats at beta 0.2
        remedy.after_step(loss(rate))
    assert rate == pytest.approx(8.0, rel=0.05)
    assert float(remedy.beta(0)) == pytest.approx(0.2, rel=0.1)


def test_the_integral_stops_while_beta_is_clipped() -> None:
    integral = torch.zeros(())
    for _ in range(10_000):
        beta, integral = pi_control(torch.tensor(-20.0), integral, 0.01, 1e-4, 0.0, 1.0)
    assert float(beta) == pytest.approx(1.0)
    assert float(integral) >= -10_021  # what makes beta 1, and not 200,000
    for _ in range(1200):
        beta, integral = pi_control(torch.tensor(10.0), integral, 0.01, 1e-4, 0.0, 1.0)
    assert float(beta) < 0.01  # it recovers at once


def test_geco_meets_its_distortion() -> None:
    remedy = GECO(distortion=50.0)
    beta, distortion = 1.0, 100.0
    for step in range(5000):
        beta = float(remedy.beta(step))
        distortion += 0.1 * (40.0 + 30.0 * beta - distortion)  # 50 nats at beta 1/3
        remedy.after_step(loss(1.0, distortion))
    assert distortion == pytest.approx(50.0, rel=0.05)


def test_memory_is_saved() -> None:
    remedy = ControlVAE()
    remedy.after_step(loss(3.0))
    again = ControlVAE()
    again.load_state_dict(remedy.state_dict())
    assert torch.equal(again.beta(0), remedy.beta(0))
    assert torch.equal(again.integral, remedy.integral)
