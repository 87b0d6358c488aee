"""Helpers for asynchronous devices: avoid host syncs, size work by free memory, CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from seqvae.numerics import is_static

Function = Callable[[], object]
ASYNCHRONOUS = ("cuda",)  # types of devices


def is_asynchronous(device: torch.device) -> bool:
    """Whether a device computes while the host continues, so that reading a number on the host is a sync."""
    return device.type in ASYNCHRONOUS


def reads_are_costly(device: torch.device) -> bool:
    """Whether a shortcut that reads a number on the host costs more than it saves, or is forbidden here."""
    return is_asynchronous(device) or is_static()


def free_memory(device: torch.device) -> int:
    """Free bytes of a CUDA device, those that torch has reserved and not allocated included."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


@contextmanager
def side_stream() -> Iterator[None]:
    """Launch work on a CUDA stream of its own, after the work before it and before the work after it."""
    stream, here = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(here)
    with torch.cuda.stream(stream):
        yield
    here.wait_stream(stream)


class Graphs:
    """Captures functions as CUDA graphs with one memory pool; on other devices it returns them unchanged.

    A captured function has no arguments and no results: it reads and writes tensors at fixed addresses, and
    reads nothing on the host. A tensor that it makes for another function must stay referenced, otherwise the
    next graph may use its memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.captures = device.type == "cuda" and torch.cuda.is_available()
        self.pool = torch.cuda.graph_pool_handle() if self.captures else None

    def warm_up(self, function: Function) -> None:
        """Call a function on a side stream before it is captured: a first call may load kernels."""
        if not self.captures:
            function()
            return
        with torch.cuda.device(self.device), side_stream(), _autocast_without_cache():
            function()

    def capture(self, function: Function) -> Function:
        """Capture a function that was warmed up, without running it; returns the function that replays it.

        A function that cannot be captured is returned unchanged, with a warning.
        """
        if not self.captures:
            return function
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: other threads may pin memory meanwhile
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
    """The surrounding autocast without its cache of cast weights, which is freed before the graph is."""
    enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with torch.autocast("cuda", dtype, enabled, cache_enabled=False):
        yield


class SessionCache:
    """The latest few sessions of captured work on a module, kept for later calls.

    A copy of the module starts with an empty cache: graphs cannot be copied.
    """

    def __init__(self) -> None:
        self.sessions: dict[Hashable, Any] = {}

    def __reduce__(self) -> tuple[type[SessionCache], tuple[()]]:
        return type(self), ()

    def take(self, key: Hashable) -> Any:
        """Remove and return the session under `key`, or None: two calls at once must not share buffers."""
        return self.sessions.pop(key, None)

    def put(self, key: Hashable, session: Any, most: int) -> None:
        """Keep a session as the latest of at most `most`."""
        self.sessions[key] = session
        while len(self.sessions) > most:
            del self.sessions[next(iter(self.sessions))]
