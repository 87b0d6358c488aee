"""A pretended CUDA graph: the operations of a block, which run again on the same memory.

As a real one it knows nothing of Python: a number that Python made is a constant in it, and a tensor is the
memory that it was when the graph was captured. What asks the device for a number cannot be captured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

aten = torch.ops.aten
# those whose results have a size that depends on numbers, or that are numbers
READS_NUMBERS = (
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.unique_consecutive.default,
    aten._unique2.default,
    aten.repeat_interleave.Tensor,
)
NOT_PERMITTED = "CUDA error: operation not permitted when stream is capturing"


def leaves(values: Any) -> list[Any]:
    """All that is in a nest of lists, tuples and dicts: faster than torch's own for some hundred thousand."""
    if isinstance(values, list | tuple):
        return [leaf for value in values for leaf in leaves(value)]
    if isinstance(values, dict):
        return [leaf for value in values.values() for leaf in leaves(value)]
    return [values]


def mapped(values: Any, kind: Any, change: Callable[[Any], Any]) -> Any:
    """The nest with those leaves changed that are of a kind."""
    if isinstance(values, kind):
        return change(values)
    if isinstance(values, list | tuple):
        made = [mapped(value, kind, change) for value in values]
        return made if isinstance(values, list) else tuple(made)
    if isinstance(values, dict):
        return {key: mapped(value, kind, change) for key, value in values.items()}
    return values


class Graph:
    """Remembers operations with the tensors that they read and wrote."""

    current: ClassVar[Graph | None] = None

    def __init__(self, **_: Any) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Any, Any]] = {}  # memory that was there before, and what was in it
        self.own: set[int] = set()

    def remember(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operation and remember it."""
        for storage in _storages((args, kwargs)):
            if storage.data_ptr() not in self.own:
                self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        out = func(*args, **kwargs)
        self.own |= {s.data_ptr() for s in _storages(out)} - self.before.keys()
        self.operations.append((func, args, kwargs, out))
        return out

    @classmethod
    def capturing(cls) -> bool:
        """Whether a graph is being captured now."""
        return cls.current is not None

    @staticmethod
    @contextmanager
    def capture(graph: Graph, **_: Any) -> Iterator[None]:
        """Let `graph` remember all operations inside; what they change of older memory is put back."""
        assert Graph.current is None
        Graph.current = graph
        try:
            yield
        finally:
            Graph.current = None
            for storage, content in graph.before.values():
                storage.copy_(content)

    def pool(self) -> tuple[int, int]:
        """A name of its memory."""
        return (0, 0)

    def replay(self) -> None:
        """Run all operations again; results go where they went the first time."""
        with torch.no_grad(), torch.autocast("cpu", enabled=False):  # a graph holds kernels, past all casts
            for func, args, kwargs, out in self.operations:
                for old, new in zip(leaves(out), leaves(func(*args, **kwargs)), strict=True):
                    if isinstance(old, Tensor) and old is not new and not _same_memory(old, new):
                        old.copy_(new)


def _same_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _storages(values: Any) -> list[Any]:
    found = [x.untyped_storage() for x in leaves(values) if isinstance(x, Tensor)]
    return [storage for storage in found if storage.nbytes()]


def captured_by(func: Any, args: Any, kwargs: Any, moves: bool) -> Any:
    """What an operation gives; the graph that captures remembers it.

    Raises:
        RuntimeError: no graph can hold it: it `moves` tensors between host and device, or reads a number.
    """
    graph = Graph.current
    if graph is not None and (moves or func in READS_NUMBERS):
        raise RuntimeError(f"{NOT_PERMITTED} ({func})")
    with _disable_current_modes():  # what an operation does inside is none of its own
        return func(*args, **kwargs) if graph is None else graph.remember(func, args, kwargs)
