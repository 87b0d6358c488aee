"""Reconstruction errors of images, and bits per dim.

Shapes: B images with any further dims; D is the number of values per image.
"""

from __future__ import annotations

import math

from torch import Tensor


def squared_error(mean: Tensor, targets: Tensor) -> Tensor:
    """(B,): mean over pixels of (mean - target)^2."""
    return (mean - targets).square().flatten(1).mean(1)


def pixel_accuracy(mean: Tensor, targets: Tensor) -> Tensor:
    """(B,): fraction of pixels on the same side of one half."""
    return ((mean >= 0.5) == (targets >= 0.5)).float().flatten(1).mean(1)


def bits_per_dim(nats: float, dims: int) -> float:
    """Nats / (D ln 2), for a likelihood of discrete pixels (binary, levels)."""
    return nats / (dims * math.log(2))
