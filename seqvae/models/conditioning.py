"""Conditioning layers (concatenation, FiLM), initialised to ignore the condition.

Shapes: N rows, D latent dims, C conditions, I inputs, O outputs, U hidden units or feature maps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


def concat_condition(z: Tensor, c: Tensor | None) -> Tensor:
    """[z; c] (N, D + C): codes z (N, D) with their condition c (N, C), or z where that is None."""
    return z if c is None else torch.cat([z, c], -1)


def extend_inputs(layer: nn.Linear, condition: int) -> nn.Linear:
    """The layer with `condition` more inputs, whose weights are zero.

    No random number is drawn, so that all other weights of the model are initialised as without a condition.
    """
    layer.weight = append_zero_columns(layer.weight, condition)
    layer.in_features += condition
    return layer


def append_zero_columns(weight: Tensor, columns: int) -> nn.Parameter:
    """(O, I + `columns`): a weight (O, I) with columns of zeros appended."""
    return nn.Parameter(torch.cat([weight.detach(), weight.new_zeros(len(weight), columns)], 1))


class ConditionedModule(nn.Module, ABC):
    """A layer whose forward pass also takes the condition c (N, C) of each row."""

    @abstractmethod
    def forward(self, h: Tensor, c: Tensor | None) -> Tensor:
        """Output for h (N, ...) under c (N, C); c is None in an unconditional model."""


class _ZeroInit(nn.Module):
    """Zero-initialised parameters; keys missing from older checkpoints load as zeros."""

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        for name, value in self.named_parameters(recurse=False):
            # zeros are the identity, which is what the model computed before it had these parameters
            state_dict.setdefault(prefix + name, torch.zeros_like(value))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class FeatureScale(_ZeroInit):
    """Scale 1 + c S of hidden units, S (C, U); 1 at initialisation."""

    def __init__(self, units: int, condition: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(condition, units))

    def forward(self, c: Tensor) -> Tensor:
        """Scales (N, U) from c (N, C)."""
        return 1 + c @ self.scale


class FiLM(_ZeroInit, ConditionedModule):
    """h (1 + c S) + c T: scales and shifts units or feature maps by the condition; the identity at first.

    Perez et al. 2018, FiLM: Visual Reasoning with a General Conditioning Layer, here linear in c. S and T are
    (C, U) and zero-initialised, without drawing a random number.

    Args:
        units: U, the number of hidden units or feature maps.
        condition: C.

    Example:
        >>> film = FiLM(units=4, condition=2)
        >>> h = torch.ones(3, 4)
        >>> torch.equal(film(h, torch.randn(3, 2)), h)
        True
    """

    def __init__(self, units: int, condition: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(condition, units))
        self.shift = nn.Parameter(torch.zeros(condition, units))

    def forward(self, h: Tensor, c: Tensor | None) -> Tensor:
        """Same shape as h: units (N, U) or feature maps (N, U, H, W), under c (N, C)."""
        assert c is not None
        scale, shift = (by[(...,) + (None,) * (h.dim() - 2)] for by in (c @ self.scale, c @ self.shift))
        return h * (1 + scale) + shift


class QuadraticCodeMap(_ZeroInit):
    """z + c z A + c^2 z B: codes as the decoder reads them at c, A and B (D, D); the identity at first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.zeros(dim, dim))
        self.square = nn.Parameter(torch.zeros(dim, dim))

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Codes (S, B, D) from z (S, B, D) and c (B, 1)."""
        return z + c * (z @ self.linear) + c**2 * (z @ self.square)


def film_layers(units: int, condition: int) -> list[nn.Module]:
    """A FiLM layer for `units` hidden units, or no layer where `condition` is 0."""
    return [FiLM(units, condition)] if condition else []


class ConditionedSequential(nn.Sequential):
    """`nn.Sequential` that passes the condition to each `ConditionedModule`."""

    def forward(self, h: Tensor, c: Tensor | None = None) -> Tensor:
        """Output of the last layer for h (N, ...) and c (N, C)."""
        for layer in self:
            h = layer(h, c) if isinstance(layer, ConditionedModule) else layer(h)
        return h


def first_linear(layers: nn.Module) -> nn.Linear:
    """The first linear layer among `layers`, which reads the code."""
    return next(layer for layer in layers.modules() if isinstance(layer, nn.Linear))
