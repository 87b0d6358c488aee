"""Many diagonal normals asked at once: the components of a mixture, or the posteriors of a data set.

Shapes: N normals, D dims.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class DiagonalNormals:
    """N(mean_n, diag exp(logvar_n)) for n = 1..N, `mean` and `logvar` (N, D).

    Their densities are two matrix products in fp64, where the expanded square does not cancel: a table of
    codes x normals x dims is never held.
    """

    def __init__(self, mean: Tensor, logvar: Tensor) -> None:
        mean, logvar = to_float64(mean), to_float64(logvar)
        self.precision = torch.exp(-logvar)  # (N, D)
        self.scaled = 2 * mean * self.precision
        self.rest = (mean**2 * self.precision + logvar + math.log(2 * math.pi)).sum(-1)  # (N,)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; mean_n, var_n) in nats, (..., N) in fp64 for z (..., D)."""
        z = z.to(self.precision)
        return -0.5 * (z**2 @ self.precision.mT - z @ self.scaled.mT + self.rest)


def to_float64(x: Tensor) -> Tensor:
    """Fp64, on the CPU where the device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
