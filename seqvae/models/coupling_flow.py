"""Coupling flow (Real NVP), an invertible map with a cheap determinant, for posteriors and priors.

Shapes: D latent dims, H context features, W hidden width; leading dims of x and of the context broadcast,
so that codes (M, 1, D) meet the contexts (B, H) of B examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import silu

from seqvae.errors import UserError

STRETCH = 3.0  # a layer scales by at most e^3, so that neither direction overflows


class Coupling(nn.Module):
    """Affine coupling: scales and shifts one half of x as a function of the other half and the context.

    y_b = x_b exp(s) + t with s, t = f(x_a, h) and y_a = x_a (Dinh et al. 2017, Real NVP), s in
    (-STRETCH, STRETCH). It is the identity at initialisation: the last layer of f is zero.
    """

    def __init__(self, dim: int, hidden: int, context: int, first: bool) -> None:
        super().__init__()
        self.dim, self.first = dim, first  # `first`: the first half is transformed
        changed = dim // 2 if first else dim - dim // 2
        # reads, told, inner and says are keys of checkpoints: renaming one would need a key map
        self.reads = nn.Linear(dim - changed, hidden)
        self.told = nn.Linear(context, hidden, bias=False) if context else None
        self.inner = nn.Linear(hidden, hidden)
        self.says = nn.Linear(hidden, 2 * changed)
        nn.init.zeros_(self.says.weight)
        nn.init.zeros_(self.says.bias)

    def forward(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        """Y (..., D) and ln |det dy/dx| (...), or with `inverse` x from y and ln |det dx/dy|."""
        a, b = x[..., : self.dim // 2], x[..., self.dim // 2 :]
        kept, changed = (b, a) if self.first else (a, b)
        s, t = self._scale_and_shift(kept, context)
        changed = (changed - t) * torch.exp(-s) if inverse else changed * torch.exp(s) + t
        kept = kept.expand(*changed.shape[:-1], kept.shape[-1])  # the context may have added dims
        y = torch.cat([changed, kept] if self.first else [kept, changed], -1)
        return y, -s.sum(-1) if inverse else s.sum(-1)

    def _scale_and_shift(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        hidden = self.reads(kept)
        if self.told is not None and context is not None:
            hidden = hidden + self.told(context)
        raw, t = self.says(silu(self.inner(silu(hidden)))).chunk(2, -1)
        return STRETCH * torch.tanh(raw / STRETCH), t  # a soft clamp, with gradients everywhere


class CouplingFlow(nn.Module):
    """Coupling layers that transform the two halves of x alternately; both directions cost the same.

    Args:
        dim: D.
        layers: number of coupling layers.
        hidden: W, width of their networks.
        context: H, number of context features; 0 for none.

    Raises:
        UserError: D is below 2, so that one half would be empty.

    Example:
        >>> flow = CouplingFlow(dim=4, layers=2, hidden=8)
        >>> x = torch.randn(5, 4)
        >>> y, log_det = flow(x)
        >>> torch.allclose(flow(y, inverse=True)[0], x), log_det.shape
        (True, torch.Size([5]))
    """

    def __init__(self, dim: int, layers: int, hidden: int, context: int = 0) -> None:
        super().__init__()
        if dim < 2:
            raise UserError(
                f"a coupling flow got a code of {dim} dim: it needs at least 2, one half moves by the other"
            )
        self.couplings = nn.ModuleList(
            Coupling(dim, hidden, context, first=layer % 2 == 1) for layer in range(layers)
        )

    def forward(
        self, x: Tensor, context: Tensor | None = None, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Transform x, or with `inverse` apply the inverse map.

        Args:
            x: (..., D).
            context: (..., H), whose leading dims broadcast with those of x.
            inverse: apply the inverse.

        Returns:
            y (..., D) and log |det dy/dx| (...) in nats, in the precision of x.
        """
        log_det = x.new_zeros(())
        with torch.autocast(x.device.type, enabled=False):  # bf16 would break the inverse and the density
            for coupling in self._iter_couplings(inverse):
                x, more = coupling(x, context, inverse)
                log_det = log_det + more
        return x, log_det

    def _iter_couplings(self, inverse: bool) -> Iterator[nn.Module]:
        return reversed(self.couplings) if inverse else iter(self.couplings)


def flow_parameters(flow: nn.Module) -> dict[str, Tensor]:
    """The flow's parameters by name, for `apply_flow`, which can be called with detached ones."""
    return dict(flow.named_parameters())


def apply_flow(
    flow: nn.Module,
    weights: Mapping[str, Tensor],
    x: Tensor,
    context: Tensor | None = None,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Forward pass of the flow with `weights` as parameters; arguments and results as in `forward`."""
    y, log_det = functional_call(flow, dict(weights), (x, context, inverse))
    return y, log_det
