"""Many normals at once against each alone."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.distributions import Normal

from seqvae.models.diagonal_normals import DiagonalNormals
from seqvae.numerics import static_execution


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("far", [0.0, 1e4])
def test_densities_are_those_of_each_normal(far: float, static: bool) -> None:
    """Far from the origin the expanded square would lose all digits in fp32: 1e4 deviations of 1e-2."""
    torch.manual_seed(0)
    mean, logvar = far + torch.randn(5, 3), torch.randn(5, 3) - 8
    z = (mean[None, :] + 0.02 * torch.randn(4, 5, 3)).requires_grad_()
    with static_execution() if static else nullcontext():
        found = DiagonalNormals(mean, logvar).log_prob(z)  # (4, 5, 5)
    each = Normal(mean.double(), (0.5 * logvar.double()).exp())
    torch.testing.assert_close(found, each.log_prob(z.double()[..., None, :]).sum(-1), rtol=1e-6, atol=1e-3)
    assert torch.isfinite(torch.autograd.grad(found.sum(), z)[0]).all()
