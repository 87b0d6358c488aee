"""Traversals along dims and along the direction of a label."""

from __future__ import annotations

import math

import pytest
import torch

from seqvae.errors import UserError
from seqvae.models.latent_directions import attribute_direction, rank_dims_by_kl, step_along, traverse_dim


def test_traversal_moves_one_dim_only() -> None:
    z = torch.randn(4, 5)
    moved = traverse_dim(z, 2)
    assert moved.shape == (4, 7, 5)
    assert moved[:, :, 2].tolist() == [[-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]] * 4
    rest = [0, 1, 3, 4]
    assert torch.equal(moved[:, :, rest], z[:, None, rest].expand(4, 7, 4))
    assert traverse_dim(z[0], 0, low=1.0, high=2.0, steps=3)[0, :, 0].tolist() == [1.0, 1.5, 2.0]
    assert traverse_dim(z[0], 0, steps=1).shape == (1, 1, 5)


def test_traversal_leaves_its_input() -> None:
    z = torch.zeros(2, 3)
    traverse_dim(z, 1)
    assert z.abs().sum() == 0


def test_direction_raises_the_label_by_one() -> None:
    made = torch.Generator().manual_seed(0)
    codes, w = torch.randn(500, 4, generator=made), torch.tensor([2.0, 0.0, -1.0, 0.0])
    direction = attribute_direction(codes, codes @ w + 7, ridge=1e-9)
    assert direction.tolist() == pytest.approx([0.4, 0.0, -0.2, 0.0], abs=1e-4)  # w / |w|^2
    assert float(direction @ w) == pytest.approx(1, abs=1e-4)
    moved = step_along(codes[:3], direction, torch.tensor([-1.0, 0.0, 5.0]))
    assert moved.shape == (3, 3, 4)
    raised = moved @ w - (codes[:3] @ w)[:, None]
    assert raised.flatten().tolist() == pytest.approx([-1.0, 0.0, 5.0] * 3, abs=1e-3)


def test_direction_of_correlated_codes_is_the_line_of_least_squares() -> None:
    made = torch.Generator().manual_seed(1)
    codes = (
        torch.randn(4000, 2, generator=made, dtype=torch.float64)
        @ torch.tensor([[1.0, 0.9], [0.0, 0.4]]).double()
    )
    values = codes[:, 0] + torch.randn(4000, generator=made, dtype=torch.float64)
    assert attribute_direction(codes, values, ridge=1e-6).tolist() == pytest.approx([1.0, 0.0], abs=0.15)


def test_collapsed_dims_stay_out_of_the_direction() -> None:
    made = torch.Generator().manual_seed(2)
    codes = torch.randn(60, 3, generator=made) * torch.tensor([1.0, 1e-3, 0.0])
    values = codes[:, 0] + torch.randn(60, generator=made)
    direction = attribute_direction(codes, values)
    assert direction[1].abs() < 0.03 * direction[0].abs()
    assert direction[2] == 0


def test_unknown_values_are_left_out() -> None:
    codes, values = torch.randn(40, 3), torch.randn(40)
    holes = values.clone()
    holes[:20] = math.nan
    assert torch.equal(attribute_direction(codes, holes), attribute_direction(codes[20:], values[20:]))


def test_most_used_dims_come_first() -> None:
    assert rank_dims_by_kl(torch.tensor([0.1, 2.0, 0.0, 0.5, 2.0])).tolist() == [1, 4, 3, 0, 2]
    assert rank_dims_by_kl(torch.zeros(0)).tolist() == []


def test_along_takes_one_code() -> None:
    path = step_along(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0]))
    assert path.tolist() == [[[1.0, 2.0], [1.0, 5.0]]]


def test_errors_say_what_was_wrong() -> None:
    z = torch.randn(30, 3)
    for dim in (3, -1):
        with pytest.raises(UserError, match=f"no dim {dim} to move: the code has 3, numbered from 0"):
            traverse_dim(z, dim)
    with pytest.raises(UserError, match="steps must be 1 or more, got 0"):
        traverse_dim(z, 0, steps=0)
    with pytest.raises(
        UserError, match=r"got codes \(30, 3\) and values \(29,\): give \(N, D\) and one value each"
    ):
        attribute_direction(z, torch.randn(29))
    with pytest.raises(UserError, match="the label has no two values among the examples"):
        attribute_direction(z, torch.ones(30))
    with pytest.raises(UserError, match="the label has no two values among the examples"):
        attribute_direction(z, torch.full((30,), math.nan))
    with pytest.raises(UserError, match=r"ridge must be above 0, got 0"):
        attribute_direction(z, torch.randn(30), ridge=0.0)
    with pytest.raises(UserError, match="the codes do not change with the label"):
        attribute_direction(torch.zeros(30, 3), torch.randn(30))
