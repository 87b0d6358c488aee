"""Process group, rank and collectives of a run on several ranks; no-ops on one.

torchrun starts the processes and sets the rank of each in environment variables.
"""

from __future__ import annotations

import io
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seqvae.errors import LocalError, UserError

TIMEOUT = timedelta(minutes=30)  # long, because the others wait while rank 0 validates


def world_size() -> int:
    """The number of ranks of this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The rank of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this is rank 0, which alone writes files and logs."""
    return rank() == 0


def local_rank() -> int:
    """The rank of this process on its machine, set by torchrun; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", 0))


def launched_world_size() -> int:
    """The number of processes that torchrun started for this run; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Initialise the process group under torchrun and destroy it on exit; a no-op without torchrun.

    CUDA tensors use NCCL, all others gloo.

    Raises:
        UserError: the connection to another rank is lost, or two ranks have the same CUDA device.
    """
    ours = launched_world_size() > 1 and not dist.is_initialized()
    if ours:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    leave = ours
    try:
        refuse_shared_device(device)
        yield
    except RuntimeError as error:
        if world_size() == 1 or not _is_connection_error(error):
            raise
        leave = ours and device.type != "cuda"  # NCCL may wait forever for a rank that has died
        raise UserError(
            f"process {rank()} of {world_size()} lost the others ({str(error).splitlines()[0][:100]}): "
            "see what they said, then go on with --resume"
        ) from None
    finally:
        if leave:  # gloo's threads left running would abort the process at its end
            dist.destroy_process_group()


def refuse_shared_device(device: torch.device) -> None:
    """Reject two ranks on one CUDA device, for which NCCL crashes or waits forever.

    The check uses gloo, before NCCL is first used.

    Raises:
        UserError: two ranks share a device; raised on every rank.
    """
    if world_size() == 1 or device.type != "cuda":
        return
    places: list[tuple[str, str]] = [("", "")] * world_size()
    dist.all_gather_object(places, (socket.gethostname(), _card(device)))
    for place, count in Counter(places).items():
        if count > 1:
            sharing = " and ".join(str(number) for number, other in enumerate(places) if other == place)
            raise UserError(
                f"processes {sharing} would share {device} of {place[0]}, NCCL needs a device per process: "
                f"start as many as there are, `torchrun --nproc-per-node {torch.cuda.device_count()}`, with "
                "train.device=cuda"
            )


def _card(device: torch.device) -> str:
    """The UUID of a GPU: its index depends on the devices that are visible to the process."""
    return str(torch.cuda.get_device_properties(device).uuid)


def _is_connection_error(error: RuntimeError) -> bool:
    message = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in message or "nccl" in message


def main_first(action: Callable[[], Any]) -> Any:
    """Run `action` on rank 0, then on the other ranks, which find the files it made; returns its result.

    Raises:
        UserError: the first rank's error, raised on every rank.
    """
    if world_size() == 1:
        return action()
    result = None
    for turn in (True, False):
        error = None
        if is_main() is turn:
            result, error = _try_action(action)
        _raise_first_error(error)
    return result


def run_on_main(action: Callable[[], Any]) -> Any:
    """Run `action` on rank 0 and return its result on every rank; the result must be picklable.

    Raises:
        UserError: raised by `action`; on every rank.
    """
    if world_size() == 1:
        return action()
    found: list[Any] = list(_try_action(action)) if is_main() else [None, None]
    dist.broadcast_object_list(found, src=0, device=torch.device("cpu"))
    if found[1] is not None:
        raise UserError(found[1])
    return found[0]


def _try_action(action: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return action(), None
    except UserError as error:
        return None, str(error)


def _raise_first_error(error: str | None) -> None:
    errors: list[str | None] = [None] * world_size()
    dist.all_gather_object(errors, error)
    for message in errors:
        if message is not None:
            raise UserError(message)


def map_sharded(items: Sequence[Any], work: Callable[[Any], Any], device: torch.device) -> list[Any]:
    """Apply `work` to every item, with the items sharded over ranks. A collective: call it on every rank.

    Args:
        items: the same items on every rank.
        work: a function of one item; its result must be picklable.
        device: the device to which CUDA tensors in the results of other ranks are moved.

    Returns:
        All results on every rank, in the order of `items`.

    Raises:
        UserError: the first rank's error, raised on every rank.
    """
    if world_size() == 1:
        return [work(item) for item in items]
    start, stop = (len(items) * place // world_size() for place in (rank(), rank() + 1))
    made, error = _try_action(lambda: [work(item) for item in items[start:stop]])
    _raise_first_error(error)
    packed, parts = io.BytesIO(), [b""] * world_size()
    torch.save(made, packed)
    dist.all_gather_object(parts, packed.getvalue())
    here = {f"cuda:{number}": str(device) for number in range(torch.cuda.device_count())}
    # safe to unpickle: these bytes come from the other ranks, not from a file
    loaded = (torch.load(io.BytesIO(part), here, weights_only=False) for part in parts)
    return [result for part in loaded for result in part]


@contextmanager
def distributed_session(device: torch.device, *ends: type[Exception]) -> Iterator[None]:
    """A `process_group` in which rank 0 alone reports user errors; the other ranks exit silently.

    Raises:
        UserError: on rank 0, as are the exceptions `ends`.
        LocalError: on the rank where it occurs.
    """
    quiet: tuple[type[Exception], ...] = (UserError, *ends)
    with process_group(device):
        try:
            yield
        except quiet as error:
            if is_main() or isinstance(error, LocalError):
                raise
            number = getattr(error, "signal", None)
            raise SystemExit(2 if number is None else 128 + number) from None


def all_gather_ints(numbers: Sequence[int]) -> list[list[int]]:
    """Integers of every rank, one row per rank, gathered on the CPU."""
    if world_size() == 1:
        return [list(numbers)]
    own = torch.tensor(numbers, dtype=torch.long)
    rows = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(rows, own)
    return [row.tolist() for row in rows]


def all_reduce_max(number: int) -> int:
    """The maximum of the ranks' numbers."""
    return max(row[0] for row in all_gather_ints([number]))


def all_reduce_sum(x: Tensor) -> Tensor:
    """The sum of the ranks' tensors, as a new tensor."""
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def all_reduce_coalesced_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over ranks, with one all_reduce for all tensors."""
    chosen = list(tensors)
    if world_size() == 1 or not chosen:
        return
    flat = torch.cat([x.detach().reshape(-1) for x in chosen])
    dist.all_reduce(flat)
    for x, part in zip(chosen, torch.split(flat, [x.numel() for x in chosen]), strict=True):
        x.detach().copy_(part.view_as(x))


def broadcast_module(module: nn.Module) -> None:
    """Copy the weights and buffers of rank 0 to all ranks."""
    if world_size() == 1:
        return
    with torch.no_grad():
        for x in module.state_dict().values():
            sent = x.contiguous().byte() if x.dtype == torch.bool else x.contiguous()
            dist.broadcast(sent, 0)
            x.copy_(sent)
