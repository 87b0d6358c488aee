"""Prior of zuko's flows: N(0, I) transformed by splines or masked autoregression.

Shapes: S samples, B examples, D latent dims, C conditions.
"""

from __future__ import annotations

from torch import Tensor

from seqvae.interfaces import Prior
from seqvae.models.priors.flow import FlowDistribution, Size
from seqvae.models.zuko_flow import Kind, ZukoFlow


class ZukoFlowPrior(Prior):
    """p(z) is N(0, I) transformed by a flow of zuko (extra `flows`), with an exact density.

    Args:
        dim: D.
        layers: number of transforms.
        hidden: width of their networks.
        kind: `nsf`, rational-quadratic splines, or `maf`, affine (Papamakarios et al. 2017).
        autoregressive: whether a dim depends on all dims before it; sampling then takes D passes.
        condition: C, number of condition features that the transforms read; 0 for none.

    Raises:
        UserError: zuko is not installed, or D is below 2.
    """

    paper = "Durkan et al., Neural Spline Flows"
    year = 2019

    def __init__(
        self,
        dim: int,
        layers: Size = 3,
        hidden: Size = 64,
        kind: Kind = "nsf",
        autoregressive: bool = False,
        condition: int = 0,
    ) -> None:
        super().__init__()
        self.dim, self.condition = dim, condition
        self.flow = ZukoFlow(dim, layers, hidden, condition, kind, autoregressive)

    def forward(self, c: Tensor | None = None) -> FlowDistribution:
        """p(z), or p(z|c) for c (B, C)."""
        return FlowDistribution(self.flow, self.dim, c if self.condition else None)
