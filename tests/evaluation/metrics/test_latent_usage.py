"""Rates by example and by dimension, and the thresholds of active units."""

from __future__ import annotations

import math

import pytest
import torch

from seqvae.evaluation.metrics.latent_usage import (
    active_units,
    kl_per_dim,
    mean_variance,
    rate,
    sort_variances,
    standard_error,
)

KL = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[3.0, 2.0], [3.0, 0.0]]])  # (S 2, B 2, D 2)


def test_rate_sums_dims_and_averages_samples() -> None:
    assert rate(KL).tolist() == [4.0, 5.0]
    assert kl_per_dim(KL).tolist() == [2.5, 2.0]
    assert float(rate(KL).mean()) == float(kl_per_dim(KL).sum())


def test_standard_error() -> None:
    assert standard_error(torch.tensor([1.0, 3.0])) == pytest.approx(math.sqrt(2) / math.sqrt(2))
    assert math.isnan(standard_error(torch.tensor([1.0])))


def test_active_units_at_each_threshold() -> None:
    # +-a around any centre has variance a^2
    sizes = torch.tensor([0.0, 0.009, 0.04, 0.06, 0.19, 0.5]).sqrt()
    means = torch.stack([7 + sizes, 7 - sizes]).double()  # (N 2, D 6)
    variance = mean_variance(means)
    assert [active_units(variance, t) for t in (0.01, 0.05, 0.2)] == [4, 3, 1]
    assert active_units(variance) == 4
    assert sort_variances(variance).tolist() == pytest.approx([0.5, 0.19, 0.06, 0.04, 0.009, 0.0], abs=1e-6)


def test_one_example_has_no_active_unit() -> None:
    assert active_units(mean_variance(torch.randn(1, 4))) == 0
