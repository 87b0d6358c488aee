"""Freed memory is used again inside, and given back outside."""

from __future__ import annotations

import resource
import sys

import pytest
import torch

from seqvae.utils.malloc import retain_freed_memory

NUMBERS = 1 << 24  # 64 MB, above what glibc keeps by itself


def faults(times: int = 12) -> int:
    """Pages that the system had to find while as much was asked for, filled and freed again and again."""
    for _ in range(times):  # until the heap has room for it
        torch.ones(NUMBERS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(NUMBERS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_is_used_again_inside() -> None:
    outside = faults()
    with retain_freed_memory() as known:
        if not known:
            pytest.skip("another C library")
        inside = faults()
    assert inside < max(100, outside / 10)


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(ValueError, match="mine"), retain_freed_memory():
        raise ValueError("mine")
