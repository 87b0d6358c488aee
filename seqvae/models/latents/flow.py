"""A posterior that is no Gaussian: a Gaussian moved by coupling layers that have read x.

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
    """The density of z = f(e; h), e from `base`: ln q(z) = ln N(e) - ln |det df/de|, e = f^-1(z; h).

    `context` (B, H) is h; `weights` are the flow's parameters, which `detach` cuts off too.
    """

    base: DiagonalNormal
    context: Tensor
    flow: CouplingFlow = field(repr=False)
    weights: Mapping[str, Tensor] = field(repr=False)

    @property
    def mean(self) -> Tensor:
        """f(mean of the base), (B, D), in place of E z, which has no closed form."""
        return apply_flow(self.flow, self.weights, self.base.mean, self.context)[0]

    @property
    def point_estimate(self) -> Tensor:
        """f(mean of the base), (B, D)."""
        return self.mean

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, B, D)."""
        return apply_flow(self.flow, self.weights, self.base.rsample(n, random), self.context)[0]

    def rsample_with_log_prob(self, n: int, random: KeyedNoise) -> tuple[Tensor, Tensor]:
        """The same z (n, B, D) and ln q(z|x) of them (n, B), without a way back through the flow."""
        e, log_q = self.base.rsample_with_log_prob(n, random)
        z, log_det = apply_flow(self.flow, self.weights, e, self.context)
        return z, log_q - log_det

    def log_prob(self, z: Tensor) -> Tensor:
        """Ln q(z|x) in nats, (S, B) for any z (S, B, D), drawn here or not."""
        e, log_det = apply_flow(self.flow, self.weights, z, self.context, back=True)
        return self.base.log_prob(e) + log_det

    def detach(self) -> FlowPosterior:
        """The same distribution, without gradients."""
        weights = {name: weight.detach() for name, weight in self.weights.items()}
        return FlowPosterior(self.base.detach(), self.context.detach(), self.flow, weights)

    def select(self, i: Tensor | slice) -> FlowPosterior:
        """The posteriors of the chosen examples."""
        return replace(self, base=self.base.select(i), context=self.context[i])


class Flow(Latent):
    """q(z|x) is N(mu(h), diag sigma^2(h)) moved by `layers` couplings that read h; it starts as the Gaussian.

    Couplings (Dinh et al. 2017, Real NVP) rather than the inverse autoregressive flow of Kingma et al. 2016:
    their inverse is as cheap as they are, and MI asks for the density of every code under every example.
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
        """q(z|x) from h (B, H)."""
        return FlowPosterior(
            DiagonalNormal(self.mean(h), self.logvar(h)), h, self.flow, flow_parameters(self.flow)
        )
