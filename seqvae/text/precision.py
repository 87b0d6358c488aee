"""The precision of matrix products here and now, and copies of weights in it that are made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")
_HELD: ContextVar[dict[Hashable, Any] | None] = ContextVar("held", default=None)


def compute_dtype(device: torch.device) -> torch.dtype:
    """The type that matrix products run in here and now: autocast's, or fp32."""
    on = torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if on else torch.float32


@contextmanager
def weights_held() -> Iterator[None]:
    """Inside, weights must not change: what is made of them, such as copies in bf16, is made once."""
    token = _HELD.set({})
    try:
        yield
    finally:
        _HELD.reset(token)


def holds_weights() -> bool:
    """Whether `held` keeps what it makes: inside of `weights_held`, and without gradients."""
    return _HELD.get() is not None and not torch.is_grad_enabled()


def held(key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gives; inside of `weights_held`, and without gradients, it is made once for each key."""
    store = _HELD.get()
    if store is None or not holds_weights():
        return make()
    if key not in store:
        store[key] = make()
    return cast(T, store[key])


def low(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in `dtype`."""
    return weight if weight.dtype == dtype else held((weight, dtype), lambda: weight.to(dtype))
