"""Free bits, capacity and target rate: positions of their minima, and zero gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from seqvae.interfaces import RunContext
from seqvae.remedies.free_bits import FreeBits, FreeBitsExample, FreeBitsTotal
from seqvae.remedies.target_rate import Capacity, TargetRate

OUT: Any = None  # no rate remedy reads it


def shaped(remedy: Any, kl: torch.Tensor, step: int = 0) -> torch.Tensor:
    return remedy.transform_kl(kl, OUT, step).sum(-1).mean()


def test_the_three_free_bits_differ() -> None:
    kl = torch.tensor([[0.0, 1.0], [0.4, 1.0]])
    assert float(shaped(FreeBits(0.3), kl)) == pytest.approx(0.3 + 1.0)
    assert float(shaped(FreeBitsExample(0.3), kl)) == pytest.approx((0.3 + 0.4) / 2 + 1.0)
    assert float(shaped(FreeBitsTotal(1.2), kl)) == pytest.approx((1.2 + 1.4) / 2)


@pytest.mark.parametrize("remedy", [FreeBits(10.0), FreeBitsExample(10.0), FreeBitsTotal(40.0)])
def test_what_is_free_has_no_gradient(remedy: Any) -> None:
    kl = torch.rand(5, 3, requires_grad=True)
    shaped(remedy, kl).backward()
    assert torch.equal(kl.grad, torch.zeros(5, 3))


def test_capacity_rises_to_its_nats_and_pulls_from_both_sides() -> None:
    remedy = Capacity(nats=8.0, gamma=10.0)
    remedy.attach(torch.nn.Identity(), RunContext(100, 1, 1, 1))
    kl = torch.full((4, 2), 4.0)
    assert remedy.schedule_end() == 80
    assert float(shaped(remedy, kl, 0)) == pytest.approx(80.0)
    assert float(shaped(remedy, kl, 80)) == pytest.approx(0.0)
    assert float(shaped(remedy, kl / 2, 99)) == pytest.approx(40.0)


def test_target_rate_has_its_minimum_at_the_target() -> None:
    kl = torch.full((4, 2), 5.0, requires_grad=True)
    remedy = TargetRate(nats=8.0, weight=0.5)
    loss = shaped(remedy, kl)
    assert loss.item() == pytest.approx(0.5 * 4)
    loss.backward()
    assert (kl.grad > 0).all()
