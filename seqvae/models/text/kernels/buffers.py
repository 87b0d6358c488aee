"""Copies, sizes and overwriting of nested tensors, used as memory at fixed addresses.

A value here is a tensor, a tuple or a dataclass of values; anything else is left unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors of a value, in the order of its fields."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from tensors_in(part)
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


def map_tensors(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """The same structure, with `change` applied to every tensor."""
    whole: Any = value
    if isinstance(whole, Tensor):
        return change(whole)  # type: ignore[return-value]
    if isinstance(whole, tuple):
        return tuple(map_tensors(part, change) for part in whole)  # type: ignore[return-value]
    if is_dataclass(whole) and not isinstance(whole, type):
        parts = {field.name: map_tensors(getattr(whole, field.name), change) for field in fields(whole)}
        return replace(whole, **parts)  # type: ignore[return-value]
    return value


def copy_of(value: T) -> T:
    """A deep copy, each tensor contiguous."""
    return map_tensors(value, lambda x: x.detach().clone(memory_format=torch.contiguous_format))


def overwrite(target: object, source: object) -> None:
    """Copy the tensors of `source` into those of `target`, a value of the same structure, in place."""
    for mine, other in zip(tensors_in(target), tensors_in(source), strict=True):
        if mine is not other:  # shared
            mine.copy_(other)


def bytes_of(value: object) -> int:
    """Size of all its tensors in bytes."""
    return sum(x.numel() * x.itemsize for x in tensors_in(value))
