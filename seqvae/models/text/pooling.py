"""Pooling of the states of all words into one vector per sentence.

Shapes: B sentences, T tokens, H features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["last", "mean", "max"]


def last(states: Tensor, mask: Tensor) -> Tensor:
    """The state at the end token, (B, H)."""
    place = mask.sum(1) - 1
    return states[torch.arange(len(states), device=states.device), place]


def mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over real tokens, (B, H)."""
    total = states.masked_fill(~mask[..., None], 0.0).sum(1)
    return total / mask.sum(1, keepdim=True)


def maximum(states: Tensor, mask: Tensor) -> Tensor:
    """The largest value of each feature over real tokens, (B, H) (Long & Cao 2019: against collapse)."""
    return states.masked_fill(~mask[..., None], -torch.inf).amax(1)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"last": last, "mean": mean, "max": maximum}
