"""Memory of live tensors during a function, independent of the allocator."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations allocate, until they are freed; includes backward passes.

    `peak` is the maximum at one time, `largest` the size of the largest storage, in bytes. Tensors that exist
    before are not counted, nor temporary memory inside an operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.largest = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._note((args, kwargs), new=False)
        out = func(*args, **(kwargs or {}))
        self._note(out, new=True)
        return out

    def _note(self, values: Any, new: bool) -> None:
        """Remember the storages of all tensors in `values`, and count them if they are new."""
        for storage in [v.untyped_storage() for v in tree_leaves(values) if isinstance(v, Tensor)]:
            if storage._cdata in self.known:
                continue
            size = storage.nbytes() if new else 0
            self.known.add(storage._cdata)
            weakref.finalize(storage, self._forget, storage._cdata, size)
            self.now += size
            self.peak, self.largest = max(self.peak, self.now), max(self.largest, size)

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def live(work: Callable[[], object]) -> Live:
    """Memory of the tensors that `work` allocates."""
    seen = Live()
    with seen:
        work()
    return seen
