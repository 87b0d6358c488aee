"""A code of known widths: the nats of each factor, and factors that are refused.

Shapes: N examples, B of a batch, D latent dims, F factors.
"""
# ruff: noqa: D102

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seqvae.data.image.batch import ImageBatch
from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import EvaluationPass
from seqvae.evaluation.metrics.factors_report import factor_metrics, nats_per_factor
from seqvae.evaluation.metrics.mig_sap import factor_information, shared_information
from seqvae.interfaces import Batch, Decoder, Encoder, Latent, Likelihood, PriorDistribution, kl_divergence
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.deterministic import Deterministic, NoEncoder, NoLatent
from seqvae.models.latents.gaussian import DiagonalNormal, kl_to_standard
from seqvae.models.priors.standard import StandardPrior
from seqvae.models.vae import VAE

N, NAMES = 600, ("x", "radius")
DEVIATIONS = (0.05, 0.4, 1.0)  # of the dim of x, of that of radius, and of one without information


class Reads(Encoder):
    """The pictures' numbers as they are."""

    out_dim = 3

    def forward(self, batch: Batch) -> Tensor:
        return batch.source.flatten(1)  # type: ignore[no-any-return]


class Known(Latent):
    """N(h, s^2), the s of a dim being one of `DEVIATIONS`."""

    dim = 3

    def posterior(self, h: Tensor, c: Tensor | None = None) -> DiagonalNormal:
        return DiagonalNormal(h, torch.tensor(DEVIATIONS).log().mul(2).expand_as(h))

    def kl(self, q: DiagonalNormal, p: PriorDistribution, z: Tensor) -> Tensor:
        return kl_divergence(q, p, z)


class Whole(Known):
    """The same, with a KL that does not decompose into dims."""

    def kl(self, q: DiagonalNormal, p: PriorDistribution, z: Tensor) -> Tensor:
        return super().kl(q, p, z).sum(-1, keepdim=True)


class Never(Decoder):
    """No decoder: codes are all that is needed."""

    def forward(self, z: Tensor, c: Tensor | None = None) -> Likelihood:
        raise AssertionError("decoded")


def factors(seed: int = 0) -> Tensor:
    """(N, F): eight places and five radii, as codes of unit deviation or so."""
    draw = torch.Generator().manual_seed(seed)
    columns = [torch.randint(k, (N,), generator=draw) / (k - 1) * 3 - 1.5 for k in (8, 5)]
    return torch.stack(columns, 1)


def batches(labels: Tensor, size: int = 64) -> list[ImageBatch]:
    """Pictures of three numbers: the two factors, and nothing."""
    known = factors()
    made = []
    for rows in torch.arange(N).split(size):
        x = torch.cat([known[rows], torch.zeros(len(rows), 1)], 1)[:, None, None]
        made.append(ImageBatch(x, x, rows, labels[rows], KeyedNoise(0, 0, rows)))
    return made


def model(latent: Latent | None = None) -> VAE:
    return VAE(Reads(), latent or Known(), StandardPrior(3), Never())


def walk(labels: Tensor, latent: Latent | None = None, size: int = 64) -> EvaluationPass:
    return EvaluationPass(model(latent), batches(labels, size))


def test_each_factor_costs_the_kl_of_its_dim() -> None:
    made = factors()
    found = factor_metrics(walk(made), NAMES)
    widths = torch.tensor(DEVIATIONS).log().mul(2)
    known = kl_to_standard(torch.cat([made, torch.zeros(N, 1)], 1), widths).double().mean(0).tolist()
    assert found["nats_per_factor"] == pytest.approx(dict(zip(NAMES, known, strict=False)), rel=1e-5)
    assert found["nats_per_factor"]["x"] > found["nats_per_factor"]["radius"] + 1.5
    assert found["nats_unassigned"] == pytest.approx(known[2], abs=1e-5)
    assert found["dim_by_factor"] == {"x": 0, "radius": 1}
    assert found["mig"] > 0.9
    assert found["factors"] == list(NAMES)
    assert "n" not in found


def test_a_dim_of_two_factors_is_shared_out() -> None:
    told = np.array([[2.0, 0.0], [1.0, 3.0], [0.0, 0.0]])
    spent = nats_per_factor(np.array([1.5, 0.8, 0.7]), told)
    assert spent == pytest.approx([1.5 + 0.2, 0.6])  # and the 0.7 of the last dim belong to no factor


def test_a_mirrored_code_costs_the_same() -> None:
    told = np.array([[2.0, 0.0], [1.0, 3.0]])
    assert nats_per_factor(np.array([1.0, 2.0]), told[:, ::-1])[::-1] == pytest.approx(
        nats_per_factor(np.array([1.0, 2.0]), told)
    )


def test_information_expected_by_chance_is_zero() -> None:
    draw, made = np.random.default_rng(3), factors().numpy()
    codes = np.concatenate([made, draw.normal(size=(N, 6))], 1)
    plain, told = factor_information(codes, made), factor_information(codes, made, beyond_chance=True)
    assert (plain[2:] > 0.02).all()
    assert (told[2:] == 0).all()
    assert told[0, 0] == pytest.approx(math.log(8), abs=0.06)
    assert told[1, 1] == pytest.approx(math.log(5), abs=0.03)
    assert (told <= plain).all()
    assert shared_information(codes, made)[[0, 1], [0, 1]] == pytest.approx([1, 1])


def test_batches_change_nothing() -> None:
    whole, parts = (factor_metrics(walk(factors(), size=size), NAMES) for size in (N, 37))
    assert whole["mig"] == parts["mig"]
    assert whole["nats_per_factor"] == pytest.approx(parts["nats_per_factor"])


@pytest.mark.parametrize("latent", [Whole(), Deterministic(3, 3)], ids=["whole", "point"])
def test_nats_without_a_decomposition_are_null(latent: Latent) -> None:
    found = factor_metrics(walk(factors(), latent), NAMES)
    assert found["nats_per_factor"] is None
    assert found["nats_unassigned"] is None
    assert found["mig"] is not None


def test_what_is_no_factor_is_refused() -> None:
    made = factors()
    with pytest.raises(UserError, match=r"have no labels, so there are no factors: train with data\.labels"):
        factor_metrics(walk(made[:, :0]), ())
    with pytest.raises(UserError, match="no example has a label: factors need x, radius of each of them"):
        factor_metrics(walk(made * math.nan), NAMES)
    with pytest.raises(UserError, match=r"factor 'radius' has one value only, 7: leave it out"):
        factor_metrics(walk(torch.stack([made[:, 0], torch.full((N,), 7.0)], 1)), NAMES)
    lm = VAE(NoEncoder(), NoLatent(), StandardPrior(0), Never())
    with pytest.raises(UserError, match=r"latent: none\) has no code to measure factors on"):
        factor_metrics(EvaluationPass(lm, batches(made)), NAMES)
    with pytest.raises(UserError, match="got 64 examples to measure disentanglement on: give 100 or more"):
        factor_metrics(EvaluationPass(model(), batches(made)[:1]), NAMES)


def test_progress_is_reported() -> None:
    heard: list[tuple[int, int, str]] = []
    factor_metrics(EvaluationPass(model(), batches(factors(), 300), lambda *told: heard.append(told)), NAMES)
    assert heard == [(300, N, "factors"), (N, N, "factors")]
