"""The current precision of matrix products, and copies of weights in it that are made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")


class HeldWeights:
    """Cache of values that are computed from weights, such as copies in bf16."""

    def __init__(self) -> None:
        self.values: dict[Hashable, Any] = {}
        self.makers: dict[Hashable, Callable[[], Any]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, computed by `make` at the first request."""
        if key not in self.values:
            self.makers[key] = make
            self.values[key] = make()
        return cast(T, self.values[key])

    def renew(self, keys: Iterable[Hashable]) -> None:
        """Compute the values of these keys again from the current weights."""
        keys = list(keys)
        for key in keys:
            self.values.pop(key, None)
        with weight_cache(self):
            for key in keys:
                self.get(key, self.makers[key])


_CACHE: ContextVar[HeldWeights | None] = ContextVar("held", default=None)


def compute_dtype(device: torch.device) -> torch.dtype:
    """The current type of matrix products: that of autocast, or fp32."""
    on = torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if on else torch.float32


@contextmanager
def weight_cache(store: HeldWeights | None = None) -> Iterator[None]:
    """Context in which weights must not change; values computed from them are kept, in `store` if given."""
    token = _CACHE.set(HeldWeights() if store is None else store)
    try:
        yield
    finally:
        _CACHE.reset(token)


def holds_weights() -> bool:
    """Whether `cached` keeps values: inside `weight_cache` and without gradients."""
    return _CACHE.get() is not None and not torch.is_grad_enabled()


def cached(key: Hashable, make: Callable[[], T]) -> T:
    """The result of `make`; inside `weight_cache` and without gradients it is computed once per key."""
    store = _CACHE.get()
    return store.get(key, make) if store is not None and holds_weights() else make()


def cast_cached(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in `dtype`."""
    return weight if weight.dtype == dtype else cached((weight, dtype), lambda: weight.to(dtype))
