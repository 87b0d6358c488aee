"""How a layer comes to read a condition besides what it reads already: deaf to it at first.

Shapes: N rows, D latent dims, C conditions, I inputs, O outputs, U hidden units or maps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


def concat_condition(z: Tensor, c: Tensor | None) -> Tensor:
    """[z; c] (N, D + C), what a decoder reads: codes and, where there is one, their condition."""
    return z if c is None else torch.cat([z, c], -1)


def extend_inputs(layer: nn.Linear, condition: int) -> nn.Linear:
    """The layer reading `condition` inputs more, deaf to them at first; no random number is drawn."""
    layer.weight = append_zero_columns(layer.weight, condition)
    layer.in_features += condition
    return layer


def append_zero_columns(weight: Tensor, columns: int) -> nn.Parameter:
    """(O, I + `columns`): a weight (O, I) with columns of zeros behind."""
    return nn.Parameter(torch.cat([weight.detach(), weight.new_zeros(len(weight), columns)], 1))


class ConditionedModule(nn.Module, ABC):
    """A layer that is told the condition (N, C) of each row beside what it reads."""

    @abstractmethod
    def forward(self, h: Tensor, c: Tensor | None) -> Tensor:
        """What the layer makes of h (N, ...); it has no condition where c is none."""


class _ZeroInit(nn.Module):
    """Weights of zeros, as which a checkpoint from before there were any is read."""

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        for name, value in self.named_parameters(recurse=False):
            state_dict.setdefault(prefix + name, torch.zeros_like(value))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class FeatureScale(_ZeroInit):
    """1 + c S: by how much the condition scales hidden units, S (C, U); by 1 at first."""

    def __init__(self, units: int, condition: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(condition, units))

    def forward(self, c: Tensor) -> Tensor:
        """(N, U)."""
        return 1 + c @ self.scale


class FiLM(_ZeroInit, ConditionedModule):
    """h (1 + c S) + c T: hidden units, or maps, scaled and shifted by the condition; the identity at first.

    Of Perez et al. 2018, FiLM: Visual Reasoning with a General Conditioning Layer, linear in c. S and T are
    (C, U), of zeros: no random number is drawn.
    """

    def __init__(self, units: int, condition: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(condition, units))
        self.shift = nn.Parameter(torch.zeros(condition, units))

    def forward(self, h: Tensor, c: Tensor | None) -> Tensor:
        """Of units (N, U) or maps (N, U, H, W), the same shape."""
        assert c is not None
        scale, shift = (by[(...,) + (None,) * (h.dim() - 2)] for by in (c @ self.scale, c @ self.shift))
        return h * (1 + scale) + shift


class QuadraticCodeMap(_ZeroInit):
    """z + c z A + c^2 z B: codes as a decoder reads them at c, A and B (D, D); themselves at first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.zeros(dim, dim))
        self.square = nn.Parameter(torch.zeros(dim, dim))

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Codes (S, B, D), each by its c (B, 1)."""
        return z + c * (z @ self.linear) + c**2 * (z @ self.square)


def film_layers(units: int, condition: int) -> list[nn.Module]:
    """What stands behind `units` hidden ones: a modulation, or nothing where there is no condition."""
    return [FiLM(units, condition)] if condition else []


class ConditionedSequential(nn.Sequential):
    """Layers in turn; those that are `ConditionedModule` are told the condition."""

    def forward(self, h: Tensor, c: Tensor | None = None) -> Tensor:
        """What the last layer makes of h (N, ...) and c (N, C)."""
        for layer in self:
            h = layer(h, c) if isinstance(layer, ConditionedModule) else layer(h)
        return h


def first_linear(layers: nn.Module) -> nn.Linear:
    """The first dense layer among `layers`: the one that reads the code."""
    return next(layer for layer in layers.modules() if isinstance(layer, nn.Linear))
