"""Keep freed host memory in the process, and report errors of missing memory.

On a CPU, page faults cost a training step more than its optimizer. Gradients and activations of some MB are
freed and allocated again at every update. glibc returns such memory to the system and takes it back page
by page, each page zeroed.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from seqvae.errors import LocalError

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
_KEEP = 1 << 30  # bytes: larger free tails of the heap, and larger blocks, are still returned
# messages of CUDA, its libraries, torch's CPU allocator, numpy and Python
_PATTERN = re.compile(
    "out of memory|not enough memory|can(no|')t allocate memory|unable to allocate|_STATUS_ALLOC_FAILED|"
    "storage size calculation overflowed",
    re.I,
)
_ASKED = re.compile(r"(?:tried to allocate|unable to allocate) ([\d.,]+ ?\w+)", re.I)
_ITS_OWN = {_MMAP: 1 << 25, _TRIM: 1 << 26}  # the largest values that glibc's dynamic thresholds reach


@contextmanager
def retain_freed_memory() -> Iterator[bool]:
    """Context in which freed blocks below 1 GB stay in the process; yields whether that is possible.

    It is a setting of the whole process, and only of glibc: a no-op elsewhere. At the end free memory is
    returned to the system.
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
    """Describe an out-of-memory error: GPU or host, and the size requested; None for other errors."""
    text = str(error)
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and _PATTERN.search(text)):
        return None
    where = "GPU" if re.search(r"CUDA|CUBLAS|CUDNN|NCCL", text) else "host"
    asked = _ASKED.search(text)
    return f"out of memory on the {where}" + (f" ({asked[1]} were asked for)" if asked else "")


@contextmanager
def memory_errors(advice: Callable[[], str]) -> Iterator[None]:
    """Turn an out-of-memory error into a user error of one line that ends with `advice`.

    Raises:
        LocalError: instead of the error; it may occur on one rank only.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if (missing := missing_memory(error)) is None:
            raise
        raise LocalError(f"{missing}: {advice()}") from None
