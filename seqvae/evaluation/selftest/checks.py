"""`seqvae selftest`: estimators and objectives checked on cases with known answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from seqvae.evaluation.evaluate import evaluate
from seqvae.evaluation.metrics.information import mutual_information
from seqvae.evaluation.selftest.linear_vae import (
    LinearDecoder,
    LinearEncoder,
    linear_data,
    optimal_distortion,
    optimal_rates,
)
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents import Gaussian
from seqvae.models.latents.exact_rate import ExactRate
from seqvae.models.latents.gaussian import DiagonalNormal, kl_to_standard
from seqvae.models.latents.vmf import kl_to_uniform
from seqvae.models.priors import StandardNormal, StandardPrior
from seqvae.models.vae import VAE
from seqvae.objectives import ELBO
from seqvae.remedies.controllers import pi_control
from seqvae.remedies.free_bits import free_bits
from seqvae.remedies.schedules import ConstantBeta

EIGENVALUES = (9.0, 4.0, 1.6, 0.5)


@dataclass(frozen=True)
class Check:
    """A known number, and the measured one."""

    name: str
    got: float
    known: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether they agree within the tolerance; False for NaN."""
        return abs(self.got - self.known) <= self.tolerance


def linear_vae(beta: float, steps: int = 2500) -> Iterator[Check]:
    """Compare a trained linear VAE with pPCA's rate, distortion, MI and active units."""
    torch.manual_seed(0)
    dim = len(EIGENVALUES)
    vae = VAE(LinearEncoder(dim), Gaussian(dim, dim), StandardPrior(dim), LinearDecoder(dim, dim))
    objective = ELBO([ConstantBeta(beta)])
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.02)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        objective(vae, linear_data(EIGENVALUES, 512, step=step), step).total.backward()
        optimizer.step()
        falling.step()
    report = evaluate(vae, [linear_data(EIGENVALUES, 512)], samples=50)
    rates = optimal_rates(EIGENVALUES, 1.0, beta)
    name = f"linear VAE, beta {beta:g}"
    yield Check(f"{name}: rate", report["rate"], sum(rates), 0.05)
    yield Check(f"{name}: distortion", report["distortion"], optimal_distortion(EIGENVALUES, 1.0, beta), 0.08)
    yield Check(f"{name}: largest rate of a dim", max(report["kl_per_dim"]), rates[0], 0.05)
    yield Check(f"{name}: active units", report["active_units"], sum(r > 0 for r in rates), 0)
    yield Check(f"{name}: MI is the rate", report["mi_low"], sum(rates), 4 * report["mi_se"] + 0.05)


def information() -> Iterator[Check]:
    """MI of N far-apart posteriors is ln N, of N equal ones 0."""
    n, random = 200, KeyedNoise(0, 0, torch.arange(200))
    apart = DiagonalNormal(100.0 * torch.arange(n)[:, None].float(), torch.zeros(n, 1))
    mi = mutual_information([apart], apart.rsample(1, random)).low
    yield Check("MI of separated codes", mi, math.log(n), 1e-4)
    equal = DiagonalNormal(torch.zeros(n, 3), torch.zeros(n, 3))
    mi = mutual_information([equal], equal.rsample(1, random)).low
    yield Check("MI of equal codes", mi, 0.0, 1e-4)


def divergences() -> Iterator[Check]:
    """Closed forms against Monte Carlo and the published table."""
    q = DiagonalNormal(torch.tensor([[0.5, -1.0]]), torch.tensor([[0.3, -0.7]]))
    z = q.rsample(200_000, KeyedNoise(0, 0, torch.zeros(1, dtype=torch.long)))
    drawn = (q.log_prob(z) - StandardNormal(2).log_prob(z))[:, 0]
    known = float(kl_to_standard(q.mean, q.logvar).sum())
    yield Check("KL of a Gaussian", float(drawn.mean()), known, 4 * float(drawn.std()) / len(drawn) ** 0.5)
    published = {13: 2.17, 25: 5.76, 50: 12.25, 100: 20.76, 200: 30.37}  # Xu & Durrett 2018, 32 dims
    for kappa, nats in published.items():
        yield Check(f"KL of a von Mises-Fisher, kappa {kappa}", kl_to_uniform(32, kappa), nats, 0.01)


def exact_rate() -> Iterator[Check]:
    """The exact-rate latent has the specified rate, for features of any scale."""
    torch.manual_seed(0)
    for nats in (0.5, 6.0, 64.0):
        latent = ExactRate(16, dim=8, nats=nats)
        for scale in (0.0, 1.0, 1e18):
            q = latent.posterior(scale * torch.randn(64, 16)).detach()
            kl = kl_to_standard(q.mean, q.logvar).sum(-1)
            worst = float(kl[(kl - nats).abs().argmax()])
            yield Check(f"exact rate {nats:g}, features x {scale:g}: the worst example", worst, nats, 1e-4)


def remedies() -> Iterator[Check]:
    """Free bits have no gradient below their threshold; a controller reaches its target without wind-up."""
    kl = torch.full((4, 3), 0.1, requires_grad=True)
    free_bits(kl, 0.2).sum().backward()  # type: ignore[no-untyped-call]
    assert kl.grad is not None
    yield Check("free bits: gradient below their nats", float(kl.grad.abs().sum()), 0.0, 0.0)
    rate, beta, integral = 30.0, torch.zeros(()), torch.zeros(())
    for _ in range(4000):
        rate += 0.1 * (2.0 / (float(beta) + 0.05) - rate)  # a plant that gives 8 nats at beta 0.2
        beta, integral = pi_control(torch.tensor(8.0 - rate), integral, 0.01, 1e-3, 0.0, 1.0)
    yield Check("PI control: rate", rate, 8.0, 0.4)
    for _ in range(10_000):
        _, integral = pi_control(torch.tensor(-20.0), integral, 0.01, 1e-3, 0.0, 1.0)
    yield Check("PI control: the integral stops at the clip", abs(float(integral)), 1000.0, 30.0)


GROUPS: dict[str, Callable[[], Iterator[Check]]] = {
    "linear VAE, beta 0.5": lambda: linear_vae(0.5),
    "linear VAE, beta 1": lambda: linear_vae(1.0),
    "linear VAE, beta 2": lambda: linear_vae(2.0),
    "information": information,
    "divergences": divergences,
    "exact rate": exact_rate,
    "remedies": remedies,
}


def run_selftest(report: Callable[[str], None] = lambda group: None) -> list[Check]:
    """Run all checks; `report` is called with the name of each group before it runs."""
    checks: list[Check] = []
    for name, group in GROUPS.items():
        report(name)
        checks += group()
    return checks
