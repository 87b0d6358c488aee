"""Log densities of many diagonal normals at once, such as mixture components or all posteriors.

Shapes: N normals, D dims.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqvae.numerics import is_static

NARROW = -18.0  # log variance from which the expanded square would cancel in fp64: 1e-4 nats at |z| = 100


def scaled_squares(difference: Tensor, logvar: Tensor) -> Tensor:
    """difference^2 / exp(logvar) without overflow: 0 for a difference of 0 at any logvar.

    In fp32 exp(-logvar) alone is infinite below logvar = -88.7, and 0 x infinity is NaN. Where the quotient
    itself exceeds the largest float it is infinite, which gives a density of 0.
    """
    most = math.log(torch.finfo(difference.dtype).max) - 8
    scale: Tensor = torch.exp((-0.5 * logvar).clamp(max=most))
    return (difference * scale) ** 2


class DiagonalNormals:
    """N(mean_n, diag exp(logvar_n)) for n = 1..N.

    The densities are two matrix products, which need no table of codes x normals x dims in memory. They run
    in fp64, since the expanded square z^2 - 2 z mean + mean^2 would cancel in fp32. Dims in which a normal is
    so narrow that it cancels in fp64 too are computed one by one. Where values may not be read on the host
    (`is_static`), which dims these are is unknown, and the table is computed.

    Args:
        mean: (N, D).
        logvar: (N, D).

    Example:
        >>> normals = DiagonalNormals(torch.zeros(3, 2), torch.zeros(3, 2))
        >>> normals.log_prob(torch.zeros(1, 2)).exp()  # 1 / (2 pi)
        tensor([[0.1592, 0.1592, 0.1592]], dtype=torch.float64)
    """

    def __init__(self, mean: Tensor, logvar: Tensor) -> None:
        mean, logvar = to_float64(mean), to_float64(logvar)
        self.mean, self.logvar, self.table = mean, logvar, is_static()
        if self.table:
            self.rest = (logvar + math.log(2 * math.pi)).sum(-1)
            return
        narrow = (logvar < NARROW).any(0)  # (D,)
        self.narrow = narrow.nonzero()[:, 0].tolist()
        self.precision = torch.exp(-logvar).masked_fill(narrow, 0.0)  # (N, D)
        self.scaled = 2 * mean * self.precision
        self.rest = (mean**2 * self.precision + logvar + math.log(2 * math.pi)).sum(-1)  # (N,)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; mean_n, var_n) in nats, (..., N) in fp64 for z (..., D)."""
        z = z.to(self.mean)
        if self.table:
            return -0.5 * (scaled_squares(z[..., None, :] - self.mean, self.logvar).sum(-1) + self.rest)
        total = z**2 @ self.precision.mT - z @ self.scaled.mT + self.rest
        for j in self.narrow:
            total = total + scaled_squares(z[..., j, None] - self.mean[:, j], self.logvar[:, j])
        return -0.5 * total


def to_float64(x: Tensor) -> Tensor:
    """X in fp64; on the CPU where the device is MPS, which has no fp64."""
    return (x.cpu() if x.device.type == "mps" else x).double()
