"""Freed memory that stays at hand: on a CPU, fresh pages cost a training step more than its optimizer.

Gradients and activations of some MB are freed and asked for again at every update. glibc gives such memory
back to the system and takes it anew, page by page and each page zeroed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
_KEEP = 1 << 30  # bytes free at the end of the heap, and of one block, from which on they are given back
_ITS_OWN = {_MMAP: 1 << 25, _TRIM: 1 << 26}  # the most to which glibc raises its thresholds by itself


@contextmanager
def retain_freed_memory() -> Iterator[bool]:
    """Inside, blocks of less than 1 GB are used again and not given back; whether this system can do so.

    A setting of the whole process, and of glibc alone: elsewhere nothing happens. At the end what is free
    goes back to the system.
    """
    known = _set({_MMAP: _KEEP, _TRIM: _KEEP})
    try:
        yield known
    finally:
        if known and _set(_ITS_OWN):
            ctypes.CDLL(None).malloc_trim(0)


def _set(thresholds: dict[int, int]) -> bool:
    with suppress(OSError, AttributeError, TypeError):  # musl, macOS, Windows
        mallopt = ctypes.CDLL(None).mallopt
        return all(mallopt(key, value) == 1 for key, value in thresholds.items())
    return False
