"""Freed memory that stays at hand, and what is said where there is not enough of it.

On a CPU, fresh pages cost a training step more than its optimizer. Gradients and activations of some MB are
freed and asked for again at every update. glibc gives such memory back to the system and takes it anew, page
by page and each page zeroed.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from seqvae.registry import LocalError

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
_KEEP = 1 << 30  # bytes free at the end of the heap, and of one block, from which on they are given back
# what CUDA, its libraries, torch's allocator on a CPU, numpy and Python say
_SAID = re.compile(
    "out of memory|not enough memory|can(no|')t allocate memory|unable to allocate|_STATUS_ALLOC_FAILED|"
    "storage size calculation overflowed",
    re.I,
)
_ASKED = re.compile(r"(?:tried to allocate|unable to allocate) ([\d.,]+ ?\w+)", re.I)
_ITS_OWN = {_MMAP: 1 << 25, _TRIM: 1 << 26}  # the most to which glibc raises its thresholds by itself


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
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


def missing_memory(error: BaseException) -> str | None:
    """Where memory ran out and how much was asked for, if an error says that; else None."""
    said = str(error)
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and _SAID.search(said)):
        return None
    where = "GPU" if re.search(r"CUDA|CUBLAS|CUDNN|NCCL", said) else "host"
    asked = _ASKED.search(said)
    return f"out of memory on the {where}" + (f" ({asked[1]} were asked for)" if asked else "")


@contextmanager
def memory_errors(advice: Callable[[], str]) -> Iterator[None]:
    """Turn an error about missing memory into one line that ends with `advice`.

    Raises:
        LocalError: in place of the error; each process has memory of its own.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if (missing := missing_memory(error)) is None:
            raise
        raise LocalError(f"{missing}: {advice()}") from None
