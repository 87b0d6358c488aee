"""Settings of the process in which a run trains: threads, deterministic kernels, advice on memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from seqvae.build import modality_of
from seqvae.config.schema import RunConfig
from seqvae.utils.atomic_files import list_checkpoints


def out_of_memory_advice(path: Path, config: RunConfig) -> str:
    """The advice of an out-of-memory error."""
    found = list_checkpoints(path)
    safe = f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was written yet"
    keys = " or ".join(filter(None, ("train.batch_size", modality_of(config).size_key)))
    return (
        f"{safe}; free some and go on with --resume, or in a new run lower {keys}, "
        "raise train.accumulate or use train.precision=bf16"
    )


@contextmanager
def deterministic_cudnn() -> Iterator[None]:
    """Use deterministic cuDNN kernels: a resumed run must equal an uninterrupted one bit for bit."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """Let torch use `count` CPU threads, or as many as before if it is None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
