"""Codes on the unit sphere: von Mises-Fisher (vMF) posteriors with a fixed concentration.

Shapes: S samples, B examples, D latent dims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from seqvae.interfaces import Latent, register_kl
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.priors.sphere import UniformSphere
from seqvae.numerics import log_sphere_area

NODES = 8192  # intervals of the table of angles


def log_bessel(order: float, x: float) -> float:
    """Ln I_order(x), the modified Bessel function of the first kind, x > 0.

    The power series has positive terms only, so its logarithm is accurate for any order and x.
    """
    terms: list[float] = []
    k = 0
    while len(terms) < 2 or terms[-1] > max(terms) - 45 or k < x:
        terms.append((2 * k + order) * math.log(x / 2) - math.lgamma(k + 1) - math.lgamma(k + order + 1))
        k += 1
    largest = max(terms)
    return largest + math.log(math.fsum(math.exp(t - largest) for t in terms))


def log_normaliser(dim: int, kappa: float) -> float:
    """Ln C of the density C exp(kappa mu.z) on the unit sphere in `dim` dimensions."""
    order = dim / 2 - 1
    return order * math.log(kappa) - dim / 2 * math.log(2 * math.pi) - log_bessel(order, kappa)


def mean_length(dim: int, kappa: float) -> float:
    """|E z| = I_{D/2}(kappa) / I_{D/2-1}(kappa)."""
    return math.exp(log_bessel(dim / 2, kappa) - log_bessel(dim / 2 - 1, kappa))


def kl_to_uniform(dim: int, kappa: float) -> float:
    """KL(vMF(mu, kappa) || uniform) in nats; it does not depend on mu."""
    return kappa * mean_length(dim, kappa) + log_normaliser(dim, kappa) + log_sphere_area(dim)


def angle_table(dim: int, kappa: float) -> Tensor:
    """Quantiles (NODES + 1,) fp64 of the angle between z and mu, at equal steps of probability.

    The density of the angle t is proportional to exp(kappa cos t) sin(t)^(D-2).
    """
    angle = torch.linspace(0, math.pi, 64 * NODES + 1, dtype=torch.float64)
    log_density = kappa * (angle.cos() - 1) + (dim - 2) * angle.sin().clamp(min=1e-300).log()
    density = torch.exp(log_density - log_density.max())
    cdf = torch.cat([density.new_zeros(1), torch.cumulative_trapezoid(density, angle)])
    places = torch.linspace(0, 1, NODES + 1, dtype=torch.float64) * cdf[-1]
    right = torch.searchsorted(cdf, places).clamp(1, len(angle) - 1)
    low, high = cdf[right - 1], cdf[right]
    share = ((places - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)
    return angle[right - 1] + share * (angle[right] - angle[right - 1])


@dataclass(frozen=True)
class VonMisesFisher:
    """Density C exp(kappa mu.z) on the unit sphere, for B examples.

    Attributes:
        direction: mu (B, D), of length 1.
        kappa: concentration.
        log_c: ln C.
        nats: KL to the uniform distribution, equal for every mu.
        table: quantiles of the angle between z and mu.
    """

    direction: Tensor
    kappa: float
    log_c: float
    nats: float
    table: Tensor = field(repr=False)

    @property
    def mean(self) -> Tensor:
        """Mu (B, D), in place of E z, which is not on the sphere."""
        return self.direction

    @property
    def point_estimate(self) -> Tensor:
        """Mu, (B, D)."""
        return self.direction

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z (n, B, D): a random angle from the table, and a random tangent of the sphere at mu."""
        dim = self.direction.shape[-1]
        # by inverse transform: rejection sampling would read values on the host
        place = random.uniform("angle", n).transpose(0, 1).to(self.table) * NODES  # (n, B)
        left = place.floor().long().clamp(max=NODES - 1)
        angle = torch.lerp(self.table[left], self.table[left + 1], place - left)[..., None]
        noise = random.normal("tangent", n, dim).transpose(0, 1)
        tangent = noise - (noise * self.direction).sum(-1, keepdim=True) * self.direction
        z = angle.cos().to(noise) * self.direction + angle.sin().to(noise) * normalize(tangent, dim=-1)
        return normalize(z, dim=-1)  # a tangent of nearly zero length is not exactly orthogonal

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density in nats, (S, B), with respect to the area of the sphere, for z (S, B, D) on it."""
        return self.log_c + self.kappa * (z * self.direction).sum(-1)

    def detach(self) -> VonMisesFisher:
        """The same distribution, without gradients."""
        return VonMisesFisher(self.direction.detach(), self.kappa, self.log_c, self.nats, self.table)

    def select(self, i: Tensor | slice) -> VonMisesFisher:
        """The posteriors of the examples with indices `i`."""
        return VonMisesFisher(self.direction[i], self.kappa, self.log_c, self.nats, self.table)


@register_kl(VonMisesFisher, UniformSphere)
def _constant_kl(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    return torch.full_like(q.direction[:, :1], q.nats)  # (B, 1)


class VMF(Latent):
    """q(z|x) = vMF(mu(h) / |mu(h)|, kappa) with fixed kappa: the KL is a constant, so it cannot vanish.

    Args:
        features: H, the number of encoder features.
        dim: D.
        kappa: concentration, which sets the rate.
    """

    paper = "Xu & Durrett, Spherical Latent Spaces for Stable Variational Autoencoders"
    year = 2018
    default_prior: ClassVar[str] = "uniform_sphere"
    priors: ClassVar[tuple[str, ...]] = (default_prior, "vamp")  # densities on the sphere

    def __init__(
        self,
        features: int,
        dim: Annotated[int, Field(ge=2)] = 32,
        kappa: Annotated[float, Field(gt=0)] = 50.0,
    ) -> None:
        super().__init__()
        self.dim, self.kappa = dim, kappa
        self.mean = nn.Linear(features, dim)
        self.log_c, self.nats = log_normaliser(dim, kappa), kl_to_uniform(dim, kappa)
        self.register_buffer("table", angle_table(dim, kappa), persistent=False)
        self.table: Tensor

    def posterior(self, h: Tensor, c: Tensor | None = None) -> VonMisesFisher:
        """q(z|x) from features h (B, H)."""
        return VonMisesFisher(normalize(self.mean(h), dim=-1), self.kappa, self.log_c, self.nats, self.table)
