"""What a GPU needs and a CPU does not: work that runs ahead of the host, free memory, CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from seqvae.numerics import is_static

Function = Callable[[], object]
AHEAD = ("cuda",)  # kinds of devices that work while the host goes on


def runs_ahead(device: torch.device) -> bool:
    """Whether a device works while the host goes on: reading a number from it waits for all its work."""
    return device.type in AHEAD


def reads_are_costly(device: torch.device) -> bool:
    """Whether code should rather compute more than read a number on the host, or must not read any here."""
    return runs_ahead(device) or is_static()


def free_memory(device: torch.device) -> int:
    """Bytes of a CUDA device that nothing holds: the driver's, and those that torch keeps for later use."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


class Graphs:
    """Makes CUDA graphs of functions of tensors; on other devices a function stays a plain call.

    A function that is captured reads and writes tensors at fixed addresses, has no arguments and no results,
    and asks the device for nothing. The graphs share one pool of memory: what a function leaves behind for
    another one must stay referenced, all else may be overwritten by the next graph.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.captures = device.type == "cuda" and torch.cuda.is_available()
        self.pool = torch.cuda.graph_pool_handle() if self.captures else None

    def warm_up(self, function: Function) -> None:
        """Call a function before it is captured: at a first call libraries load and choose their kernels."""
        if not self.captures:
            function()
            return
        with torch.cuda.device(self.device):
            stream, here = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(here)
            with torch.cuda.stream(stream), _autocast_without_cache():
                function()
            here.wait_stream(stream)

    def capture(self, function: Function) -> Function:
        """What does the work of `function` at each call; capturing it does none. It must be warmed up."""
        if not self.captures:
            return function
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: what another thread does meanwhile, as pinning memory, does not end the capture
            with (
                torch.cuda.device(self.device),
                torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"),
                _autocast_without_cache(),
            ):
                function()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            warnings.warn(f"not captured as a CUDA graph, so it runs slower: {reason}", stacklevel=2)
            return function
        return graph.replay


@contextmanager
def _autocast_without_cache() -> Iterator[None]:
    """The surrounding autocast without its cached casts: they are freed where it ends, a graph is not."""
    enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with torch.autocast("cuda", dtype, enabled, cache_enabled=False):
        yield


class Reusable:
    """Captured work of a module that is kept for later calls: the few latest, none twice at the same time.

    A copy of the module starts without any: graphs stay where they were made.
    """

    def __init__(self) -> None:
        self.kept: dict[Hashable, Any] = {}

    def __reduce__(self) -> tuple[type[Reusable], tuple[()]]:
        return type(self), ()

    def borrow(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What was put back under this key, or a new one. Until it is put back nobody else gets it."""
        return self.kept.pop(key) if key in self.kept else make()

    def put_back(self, key: Hashable, work: Any, most: int) -> None:
        """Keep it as the latest of at most so many."""
        self.kept[key] = work
        while len(self.kept) > most:
            del self.kept[next(iter(self.kept))]
