"""The share that each process has of a global batch, and statistics of the batch that know the other shares.

The global batch defines a run: each process reads its rows of it, and its loss weighs as much as its share.
Shapes: B examples of this process, M of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from seqvae.distributed.collectives import all_gather_ints, all_reduce_sum, rank, world_size


def local_rows(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The rows of a global batch that this process reads: a stretch, as long as the others' but for one.

    All rows where there are fewer than processes: nobody reads an empty batch.
    """
    return rows if len(rows) < world_size() else np.array_split(rows, world_size())[rank()]


@dataclass(frozen=True)
class BatchShard:
    """What this process reads of a global batch."""

    sizes: tuple[int, ...]  # examples, a process
    place: int  # of this process among them
    copied: bool  # all read the same examples, of which there are fewer than processes
    num_targets: int  # of the global batch

    @property
    def total(self) -> int:
        """M."""
        return self.sizes[0] if self.copied else sum(self.sizes)

    @property
    def weight(self) -> float:
        """What a mean over B examples counts in that over M; the processes' weights add up to 1."""
        return self.sizes[self.place] / sum(self.sizes)

    @property
    def rows(self) -> slice:
        """Where the B examples lie among the M."""
        start = 0 if self.copied else sum(self.sizes[: self.place])
        return slice(start, start + self.sizes[self.place])


def exchange_shards(parts: Sequence[Any]) -> list[BatchShard]:
    """The shares that the batches `parts` on the CPU are; every process must ask."""
    own = [number for part in parts for number in (part.size, int(part.index[0]), part.num_targets)]
    told = np.array(all_gather_ints(own)).reshape(world_size(), len(parts), 3)
    found = []
    for sizes, first, units in told.transpose(1, 2, 0).tolist():
        copied = world_size() > 1 and len(set(first)) == 1  # no example comes twice in an update
        found.append(BatchShard(tuple(sizes), rank(), copied, units[0] if copied else sum(units)))
    return found


_active_shards: list[BatchShard] = []  # the share that is being computed, the innermost last


@contextmanager
def global_batch_statistics(share: BatchShard) -> Iterator[None]:
    """Inside, statistics of a batch are those of the global one; every process must be inside."""
    if world_size() == 1:
        yield
        return
    _active_shards.append(share)
    try:
        yield
    finally:
        _active_shards.pop()


class _AllReduceSum(torch.autograd.Function):
    """Sum over processes; the gradient is that of the sum of all processes' losses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_reduce_sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return all_reduce_sum(grads[0])


class _AllGatherRows(torch.autograd.Function):
    """Rows of all processes (M, ...), of which this one's get the gradients of all processes' losses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: BatchShard) -> Tensor:
        ctx.rows = share.rows
        longest = max(share.sizes)
        padded = x.new_zeros(longest, *x.shape[1:])
        padded[: len(x)] = x
        found = [torch.empty_like(padded) for _ in share.sizes]
        dist.all_gather(found, padded)
        return torch.cat([rows[:size] for rows, size in zip(found, share.sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return all_reduce_sum(grads[0])[ctx.rows], None


def global_mean(mean: Tensor) -> Tensor:
    """The mean over the global batch, from this process's mean over its examples; differentiable."""
    if not _active_shards:
        return mean
    wide = mean if mean.dtype == torch.float64 else mean.float()
    out: Tensor = _AllReduceSum.apply(wide * _active_shards[-1].weight)  # type: ignore[no-untyped-call]
    return out.to(mean.dtype)


def all_gather_rows(x: Tensor) -> Tensor:
    """The rows (M, ...) of all processes, in the order of the global batch, from (B, ...); differentiable."""
    if not _active_shards or _active_shards[-1].copied:
        return x
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    out: Tensor = _AllGatherRows.apply(wide, _active_shards[-1])  # type: ignore[no-untyped-call]
    return out.to(x.dtype)


def local_slice(x: Tensor) -> Tensor:
    """The rows (B, ...) of this process, of those of all (M, ...)."""
    return x[_active_shards[-1].rows] if _active_shards else x


def global_batch_size(x: Tensor) -> int:
    """M, for x (B, ...)."""
    return _active_shards[-1].total if _active_shards else len(x)
