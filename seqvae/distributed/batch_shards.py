"""Shards of the global batch, and differentiable collectives for statistics over all of it.

The global batch defines a run: each rank reads its rows of it, and its loss is weighted by its shard's size.
Shapes: B examples of this rank, M of all ranks.
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
    """The rows of a global batch that this rank reads; shard sizes differ by one row at most.

    All rows if there are fewer than ranks, because no rank may have an empty batch.
    """
    return rows if len(rows) < world_size() else np.array_split(rows, world_size())[rank()]


@dataclass(frozen=True)
class BatchShard:
    """This rank's shard of a global batch."""

    sizes: tuple[int, ...]  # examples per rank
    place: int  # index of this rank in `sizes`
    copied: bool  # every rank reads all examples, because there are fewer than ranks
    num_targets: int  # of the global batch

    @property
    def total(self) -> int:
        """M, the number of examples of the global batch."""
        return self.sizes[0] if self.copied else sum(self.sizes)

    @property
    def weight(self) -> float:
        """Weight of a mean over B examples in the mean over M; the ranks' weights sum to 1."""
        return self.sizes[self.place] / sum(self.sizes)

    @property
    def rows(self) -> slice:
        """The positions of the B examples among the M."""
        start = 0 if self.copied else sum(self.sizes[: self.place])
        return slice(start, start + self.sizes[self.place])


def exchange_shards(parts: Sequence[Any]) -> list[BatchShard]:
    """The shards of which this rank holds the CPU batches `parts`. A collective: call it on every rank."""
    own = [number for part in parts for number in (part.size, int(part.index[0]), part.num_targets)]
    gathered = np.array(all_gather_ints(own)).reshape(world_size(), len(parts), 3)
    found = []
    for sizes, first, units in gathered.transpose(1, 2, 0).tolist():
        # an update never has an example twice, so equal first rows mean that all ranks read the same
        copied = world_size() > 1 and len(set(first)) == 1
        found.append(BatchShard(tuple(sizes), rank(), copied, units[0] if copied else sum(units)))
    return found


_active_shards: list[BatchShard] = []  # stack of the shards being computed


@contextmanager
def global_batch_statistics(share: BatchShard) -> Iterator[None]:
    """Context in which batch statistics are global. They are collectives: enter it on every rank."""
    if world_size() == 1:
        yield
        return
    _active_shards.append(share)
    try:
        yield
    finally:
        _active_shards.pop()


class _AllReduceSum(torch.autograd.Function):
    """Sum over ranks; the gradient is that of the sum of all ranks' losses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_reduce_sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return all_reduce_sum(grads[0])


class _AllGatherRows(torch.autograd.Function):
    """Rows (M, ...) of all ranks; the gradient of this rank's rows is that of the sum of all losses."""

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
    """The mean over the global batch, from this rank's mean over its examples; differentiable."""
    if not _active_shards:
        return mean
    wide = mean if mean.dtype == torch.float64 else mean.float()
    out: Tensor = _AllReduceSum.apply(wide * _active_shards[-1].weight)  # type: ignore[no-untyped-call]
    return out.to(mean.dtype)


def all_gather_rows(x: Tensor) -> Tensor:
    """The rows (M, ...) of all ranks, in the order of the global batch, from (B, ...); differentiable."""
    if not _active_shards or _active_shards[-1].copied:
        return x
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    out: Tensor = _AllGatherRows.apply(wide, _active_shards[-1])  # type: ignore[no-untyped-call]
    return out.to(x.dtype)


def local_slice(x: Tensor) -> Tensor:
    """This rank's rows (B, ...) of the rows (M, ...) of all ranks."""
    return x[_active_shards[-1].rows] if _active_shards else x


def global_batch_size(x: Tensor) -> int:
    """M, for x (B, ...)."""
    return _active_shards[-1].total if _active_shards else len(x)
