"""The precision of matrix products here and now, and copies of weights in it that are made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")
_CACHE: ContextVar[dict[Hashable, Any] | None] = ContextVar("held", default=None)


def compute_dtype(device: torch.device) -> torch.dtype:
    """The type that matrix products run in here and now: autocast's, or fp32."""
    on = torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if on else torch.float32


@contextmanager
def weight_cache() -> Iterator[None]:
    """Inside, weights must not change: what is made of them, such as copies in bf16, is made once."""
    token = _CACHE.set({})
    try:
        yield
    finally:
        _CACHE.reset(token)


def cached(key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gives; inside of `weight_cache`, and without gradients, it is made once for each key."""
    store = _CACHE.get()
    if store is None or torch.is_grad_enabled():
        return make()
    if key not in store:
        store[key] = make()
    return cast(T, store[key])


def cast_cached(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in `dtype`."""
    return weight if weight.dtype == dtype else cached((weight, dtype), lambda: weight.to(dtype))
