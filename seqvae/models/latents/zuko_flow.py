"""Posterior of zuko's flows: a Gaussian transformed by splines or masked autoregression conditioned on x.

Shapes: B examples, H features, D latent dims.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Latent
from seqvae.models.coupling_flow import flow_parameters
from seqvae.models.latents.flow import FlowPosterior, Size
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.models.zuko_flow import Kind, ZukoFlow


class ZukoFlowLatent(Latent):
    """q(z|x) is N(mu(h), diag sigma^2(h)) transformed by a flow of zuko (extra `flows`) that reads h.

    Args:
        features: H, the number of encoder features.
        dim: D.
        layers: number of transforms.
        hidden: width of their networks.
        kind: `nsf`, rational-quadratic splines, or `maf`, affine (Papamakarios et al. 2017).
        autoregressive: whether a dim depends on all dims before it; sampling then takes D passes.

    Raises:
        UserError: zuko is not installed.
    """

    paper = "Durkan et al., Neural Spline Flows"
    year = 2019

    def __init__(
        self,
        features: int,
        dim: Annotated[int, Field(ge=2)] = 32,
        layers: Size = 2,
        hidden: Size = 64,
        kind: Kind = "nsf",
        autoregressive: bool = False,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.mean = nn.Linear(features, dim)
        self.logvar = nn.Linear(features, dim)
        self.flow = ZukoFlow(dim, layers, hidden, features, kind, autoregressive)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> FlowPosterior:
        """q(z|x) from features h (B, H)."""
        return FlowPosterior(
            DiagonalNormal(self.mean(h), self.logvar(h)), h, self.flow, flow_parameters(self.flow)
        )
