"""Chunk sizes of evaluation: how many samples per example a decoder processes at once.

A cell is one token (or the equivalent, see `decoder_positions`) of one sample of one example.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from seqvae.interfaces import Batch
from seqvae.utils.accelerator import free_memory, is_asynchronous

CELLS = 2**15  # at once on a CPU: most of a layer's output then fits its caches
GPU_CELLS = 2**20  # at once on a GPU, at most: more are not faster
CELL_BYTES = 2**16  # of a GPU's memory per cell, enough for a wide decoder
FEW = 5  # samples at once in passes that store more than likelihoods


def cells_at_once(device: torch.device) -> int:
    """How many cells a decoder processes at once on `device`; on a GPU they use half of its free memory."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return CELLS
    return max(CELLS, min(GPU_CELLS, free_memory(device) // (2 * CELL_BYTES)))


def samples_at_once(batch: Batch, cells: int) -> int:
    """How many samples per example of a batch have at most `cells` cells, at least one."""
    return int(max(1, cells // (batch.size * batch.decoder_positions)))


def few_samples(device: torch.device) -> Callable[[Batch], int]:
    """Samples per example of a batch for passes that keep more than likelihoods: 5, more on a GPU."""
    if not is_asynchronous(device):
        return lambda batch: FEW
    cells = cells_at_once(device)
    return lambda batch: max(FEW, samples_at_once(batch, cells))
