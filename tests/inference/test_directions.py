"""A direction between two groups of codes, where it is known."""

from __future__ import annotations

import pytest
import torch

from seqvae.errors import UserError
from seqvae.inference.directions import fit_direction


def planted(n: int, gap: float, seed: int = 0, dim: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Two groups of normal codes whose means differ by `gap` in dim 0."""
    noise = torch.randn(2, n, dim, generator=torch.Generator().manual_seed(seed))
    noise[0, :, 0] += gap
    return noise[0], noise[1]


def test_a_planted_direction_is_found() -> None:
    ahead, behind = planted(400, gap=4.0)
    found = fit_direction(ahead, behind)
    assert torch.allclose(found.step, ahead.mean(0) - behind.mean(0))
    assert found.weight.abs().argmax() == 0
    # two normals 4 deviations apart: the best classifier is right with probability Phi(2) = 0.977
    assert found.accuracy == pytest.approx(0.977, abs=0.02)
    assert found.examples == 800
    assert float(found.score(ahead).mean()) == pytest.approx(0.5, abs=1e-4)
    assert float(found.score(behind).mean()) == pytest.approx(-0.5, abs=1e-4)
    assert "held-out sentences lie on their own side" in found.confidence
    assert "hardly" not in found.confidence


def test_groups_that_do_not_differ_are_not_separated() -> None:
    found = fit_direction(*planted(200, gap=0.0))
    assert found.accuracy == pytest.approx(0.5, abs=0.08)  # held out: on the fitted codes it would be higher
    assert "hardly separates the groups" in found.confidence


def test_the_lean_step_moves_the_score_as_far() -> None:
    ahead, behind = planted(50, gap=2.0)
    ahead, behind = ahead * torch.tensor([1.0, 9, 9, 9, 9, 9]), behind * torch.tensor([1.0, 9, 9, 9, 9, 9])
    found = fit_direction(ahead, behind)
    scores = [float(found.score(behind[:1] + step)) for step in (found.step, found.lean_step)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert found.lean_step.norm() < found.step.norm()


def test_single_sentences_have_a_direction_and_no_confidence() -> None:
    found = fit_direction(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    assert (found.accuracy, found.examples, found.confidence) == (None, 0, "")
    assert found.step.tolist() == [1.0, 0.0]


def test_mistakes() -> None:
    one = torch.ones(2, 3)
    with pytest.raises(UserError, match="`away` holds no sentence"):
        fit_direction(one, one[:0])
    with pytest.raises(UserError, match="both groups have the same mean code"):
        fit_direction(one, one)
