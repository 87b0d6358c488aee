"""How many samples of its examples a decoder sees at once: what a CPU's caches or a GPU's memory hold."""

from __future__ import annotations

from collections.abc import Callable

import torch

from seqvae.interfaces import Batch
from seqvae.utils.accelerator import free_memory, is_asynchronous

# samples x examples x tokens (or their worth) at once
CELLS = 2**15  # a CPU has what a layer makes of them near
GPU_CELLS = 2**20  # more are not faster
FEW = 5  # samples
CELL_BYTES = 2**16  # of a GPU's memory for one of them, those of a wide decoder and all that it makes of it


def cells_at_once(device: torch.device) -> int:
    """Samples x examples x tokens (or their worth) that a decoder may see at once on a device.

    On a GPU half of its free memory is theirs.
    """
    if device.type != "cuda" or not torch.cuda.is_available():
        return CELLS
    return max(CELLS, min(GPU_CELLS, free_memory(device) // (2 * CELL_BYTES)))


def few_samples(device: torch.device) -> Callable[[Batch], int]:
    """The same where a pass keeps more of each sample than its likelihood: `FEW`, on a GPU as many as fit."""
    if not is_asynchronous(device):
        return lambda batch: FEW
    cells = cells_at_once(device)
    return lambda batch: max(FEW, samples_at_once(batch, cells))


def samples_at_once(batch: Batch, cells: int) -> int:
    """Samples per example, of which a decoder then sees at most so many cells, or one sample."""
    return int(max(1, cells // (batch.size * batch.decoder_positions)))
