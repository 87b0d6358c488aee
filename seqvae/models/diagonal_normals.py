"""Many diagonal normals asked at once: the components of a mixture, or the posteriors of a data set.

Shapes: N normals, D dims.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NARROW = -18.0  # log variance from which the expanded square would cancel in fp64: 1e-4 nats at |z| = 100


def scaled_squares(difference: Tensor, logvar: Tensor) -> Tensor:
    """difference^2 / exp(logvar), without overflow of the divisor: 0 for a difference of 0 at any logvar.

    exp(-logvar) alone is infinite in fp32 from logvar = -88.7 on, and 0 x infinity no number. Where the
    quotient itself passes the largest float it is infinite, which makes a density of 0.
    """
    most = math.log(torch.finfo(difference.dtype).max) - 8
    scale: Tensor = torch.exp((-0.5 * logvar).clamp(max=most))
    return (difference * scale) ** 2


class DiagonalNormals:
    """N(mean_n, diag exp(logvar_n)) for n = 1..N, `mean` and `logvar` (N, D).

    Their densities are two matrix products in fp64, where the expanded square does not cancel: a table of
    codes x normals x dims is never held. Dims in which one of them is narrow are taken one after the other.
    """

    def __init__(self, mean: Tensor, logvar: Tensor) -> None:
        mean, logvar = to_float64(mean), to_float64(logvar)
        narrow = (logvar < NARROW).any(0)  # (D,)
        self.narrow = narrow.nonzero()[:, 0].tolist()
        self.mean, self.logvar = mean, logvar
        self.precision = torch.exp(-logvar).masked_fill(narrow, 0.0)  # (N, D)
        self.scaled = 2 * mean * self.precision
        self.rest = (mean**2 * self.precision + logvar + math.log(2 * math.pi)).sum(-1)  # (N,)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; mean_n, var_n) in nats, (..., N) in fp64 for z (..., D)."""
        z = z.to(self.precision)
        total = z**2 @ self.precision.mT - z @ self.scaled.mT + self.rest
        for j in self.narrow:
            total = total + scaled_squares(z[..., j, None] - self.mean[:, j], self.logvar[:, j])
        return -0.5 * total


def to_float64(x: Tensor) -> Tensor:
    """Fp64, on the CPU where the device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
