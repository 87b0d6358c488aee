"""Normalizing-flow posterior: a Gaussian transformed by coupling layers conditioned on x.

Shapes: S samples, B examples, H features, D latent dims.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Latent
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.coupling_flow import CouplingFlow, apply_flow, flow_parameters
from seqvae.models.latents.gaussian import DiagonalNormal

Size = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class FlowPosterior:
    """Distribution of z = f(e; h), e from `base`: ln q(z) = ln N(e) - ln |det df/de|, e = f^-1(z; h).

    Attributes:
        base: distribution of e.
        context: features h (B, H).
        flow: f, a CouplingFlow or another map with its interface.
        weights: parameters of the flow, as a field so that `detach` covers them.
    """

    base: DiagonalNormal
    context: Tensor
    flow: nn.Module = field(repr=False)
    weights: Mapping[str, Tensor] = field(repr=False)

    @property
    def mean(self) -> Tensor:
        """f(mean of the base), (B, D), since E z has no closed form."""
        return apply_flow(self.flow, self.weights, self.base.mean, self.context)[0]

    @property
    def point_estimate(self) -> Tensor:
        """f(mean of the base), (B, D)."""
        return self.mean

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z (n, B, D)."""
        return apply_flow(self.flow, self.weights, self.base.rsample(n, random), self.context)[0]

    def rsample_with_log_prob(self, n: int, random: KeyedNoise) -> tuple[Tensor, Tensor]:
        """Samples z (n, B, D), as `rsample`, and ln q(z|x) (n, B) in nats, without inverting the flow."""
        e, log_q = self.base.rsample_with_log_prob(n, random)
        z, log_det = apply_flow(self.flow, self.weights, e, self.context)
        return z, log_q - log_det

    def log_prob(self, z: Tensor) -> Tensor:
        """Log q(z|x) in nats, (S, B), for any z (S, B, D)."""
        e, log_det = apply_flow(self.flow, self.weights, z, self.context, inverse=True)
        return self.base.log_prob(e) + log_det

    def detach(self) -> FlowPosterior:
        """The same distribution, without gradients."""
        weights = {name: weight.detach() for name, weight in self.weights.items()}
        return FlowPosterior(self.base.detach(), self.context.detach(), self.flow, weights)

    def select(self, i: Tensor | slice) -> FlowPosterior:
        """The posteriors of the examples with indices `i`."""
        return replace(self, base=self.base.select(i), context=self.context[i])


class Flow(Latent):
    """q(z|x) is N(mu(h), diag sigma^2(h)) transformed by couplings that read h, initially the identity.

    Couplings (Dinh et al. 2017, Real NVP) rather than the inverse autoregressive flow of Kingma et al. 2016:
    their inverse is as cheap as they are, and MI needs the density of every code under every example.

    Args:
        features: H, the number of encoder features.
        dim: D.
        layers: number of coupling layers.
        hidden: width of their networks.
    """

    paper = "Rezende & Mohamed, Variational Inference with Normalizing Flows"
    year = 2015

    def __init__(
        self,
        features: int,
        dim: Annotated[int, Field(ge=2)] = 32,
        layers: Size = 4,
        hidden: Size = 64,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.mean = nn.Linear(features, dim)
        self.logvar = nn.Linear(features, dim)
        self.flow = CouplingFlow(dim, layers, hidden, features)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> FlowPosterior:
        """q(z|x) from features h (B, H)."""
        return FlowPosterior(
            DiagonalNormal(self.mean(h), self.logvar(h)), h, self.flow, flow_parameters(self.flow)
        )
