"""How a layer comes to read a condition besides what it reads already: deaf to it at first.

Shapes: N rows, D latent dims, C conditions, I inputs, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def beside(z: Tensor, c: Tensor | None) -> Tensor:
    """[z; c] (N, D + C), what a decoder reads: codes and, where there is one, their condition."""
    return z if c is None else torch.cat([z, c], -1)


def widened(layer: nn.Linear, condition: int) -> nn.Linear:
    """The layer reading `condition` inputs more, deaf to them at first; no random number is drawn."""
    layer.weight = with_zeros(layer.weight, condition)
    layer.in_features += condition
    return layer


def with_zeros(weight: Tensor, columns: int) -> nn.Parameter:
    """(O, I + `columns`): a weight (O, I) with columns of zeros behind."""
    return nn.Parameter(torch.cat([weight.detach(), weight.new_zeros(len(weight), columns)], 1))


def first_dense(layers: nn.Module) -> nn.Linear:
    """The first dense layer among `layers`: the one that reads the code."""
    return next(layer for layer in layers.modules() if isinstance(layer, nn.Linear))
