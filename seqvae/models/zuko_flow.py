"""Flows of the library zuko behind the interface of `CouplingFlow`: neural splines and masked autoregression.

Shapes: D latent dims, H context features; leading dims of x and of the context broadcast.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from seqvae.errors import UserError

Kind = Literal["nsf", "maf"]


class ZukoFlow(nn.Module):
    """An invertible map e -> z whose inverse is a composition of zuko's transforms; both ways are exact.

    `nsf` transforms each dim by a monotonic rational-quadratic spline on [-5, 5], the identity outside
    (Durkan et al. 2019, Neural Spline Flows); `maf` by an affine map (Papamakarios et al. 2017, Masked
    Autoregressive Flow). Each layer is a coupling of two halves, whose directions cost the same; with
    `autoregressive` a dim reads all dims before it, and e -> z takes D passes.

    Args:
        dim: D.
        layers: number of transforms.
        hidden: width of their networks, of two layers each.
        context: H; 0 for none.
        kind: of the transforms.
        autoregressive: whether a dim reads all dims before it, not only the other half.

    Raises:
        UserError: zuko is not installed, or D is below 2.
    """

    def __init__(
        self,
        dim: int,
        layers: int,
        hidden: int,
        context: int = 0,
        kind: Kind = "nsf",
        autoregressive: bool = False,
    ) -> None:
        super().__init__()
        if dim < 2:
            raise UserError(
                f"a flow got a code of {dim} dim: it needs at least 2, one half moves by the other"
            )
        flows = _import_flows()
        made = flows.NSF if kind == "nsf" else flows.MAF
        passes = None if autoregressive else 2
        flow = made(
            dim,
            context,
            transforms=layers,
            hidden_features=(hidden, hidden),
            passes=passes,
            randperm=False,  # the halves alternate
        )
        self.transform: nn.Module = flow.transform  # its base distribution is not used: noise is keyed

    def forward(
        self, x: Tensor, context: Tensor | None = None, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Transform x (..., D): y and log |det dy/dx| (...) in nats, as `CouplingFlow.forward`."""
        with torch.autocast(x.device.type, enabled=False):  # bf16 would break the inverse and the density
            if context is not None:  # zuko's own inverse does not broadcast
                shape = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])  # type: ignore[no-untyped-call]
                x = x.expand(*shape, x.shape[-1])
            found: Any = self.transform(context)
            if inverse:
                y, log_det = found.call_and_ladj(x)
                return y, log_det
            y = found.inv(x)
            return y, -found.log_abs_det_jacobian(y, x)


def _import_flows() -> Any:
    try:
        import zuko.flows
    except ImportError:
        raise UserError(
            "this flow needs zuko, which is not installed: `pip install 'seqvae[flows]'`"
        ) from None
    return zuko.flows
