"""One run on several processes: which one this is, what they agree on, and sums over all of them.

torchrun starts the processes and says in environment variables who is who. Alone nothing is sent.
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

from seqvae.registry import LocalError, UserError

TIMEOUT = timedelta(minutes=30)  # one process validates while the others wait


def world() -> int:
    """How many processes work on this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


def is_main() -> bool:
    """Whether this is the one process that writes and speaks."""
    return rank() == 0


def local_rank() -> int:
    """The number of this process on its machine, as torchrun tells it; 0 where nothing is told."""
    return int(os.environ.get("LOCAL_RANK", 0))


def started() -> int:
    """How many processes torchrun has started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Meet the processes that torchrun started, and part from them at the end; alone nothing happens.

    Tensors of a CUDA device travel by NCCL, all others by gloo.

    Raises:
        UserError: another process is gone, or has the same CUDA device.
    """
    ours = started() > 1 and not dist.is_initialized()
    if ours:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    leave = ours
    try:
        refuse_shared_device(device)
        yield
    except RuntimeError as error:
        if world() == 1 or not _is_lost(error):
            raise
        leave = ours and device.type != "cuda"  # NCCL may wait for ever for who is gone
        raise UserError(
            f"process {rank()} of {world()} lost the others ({str(error).splitlines()[0][:100]}): "
            "see what they said, then go on with --resume"
        ) from None
    finally:
        if leave:  # gloo's threads left running would abort the process at its end
            dist.destroy_process_group()


def refuse_shared_device(device: torch.device) -> None:
    """Refuse two processes on one CUDA device, which end in NCCL's segmentation fault or wait for ever.

    They ask each other by gloo, before NCCL has anything to do.

    Raises:
        UserError: on every process.
    """
    if world() == 1 or device.type != "cuda":
        return
    places: list[tuple[str, str]] = [("", "")] * world()
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
    """What no other card has: its number among those that a process sees may be another's too."""
    return str(torch.cuda.get_device_properties(device).uuid)


def _is_lost(error: RuntimeError) -> bool:
    told = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in told or "nccl" in told


def agreed(action: Callable[[], Any]) -> Any:
    """What `action` gives to every process; the first one acts before the others, who find its files.

    Raises:
        UserError: the error of the first process that had one, on all of them.
    """
    if world() == 1:
        return action()
    result = None
    for turn in (True, False):
        error = None
        if is_main() is turn:
            result, error = _tried(action)
        _raise_first(error)
    return result


def on_main(action: Callable[[], Any]) -> Any:
    """What `action` gives to the first process, on all of them; it must survive pickling.

    Raises:
        UserError: the first process had it.
    """
    if world() == 1:
        return action()
    found: list[Any] = list(_tried(action)) if is_main() else [None, None]
    dist.broadcast_object_list(found, src=0, device=torch.device("cpu"))
    if found[1] is not None:
        raise UserError(found[1])
    return found[0]


def _tried(action: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return action(), None
    except UserError as error:
        return None, str(error)


def _raise_first(error: str | None) -> None:
    errors: list[str | None] = [None] * world()
    dist.all_gather_object(errors, error)
    for told in errors:
        if told is not None:
            raise UserError(told)


def spread(items: Sequence[Any], work: Callable[[Any], Any], device: torch.device) -> list[Any]:
    """What `work` makes of every item, in their order: each process works on a stretch, all have the whole.

    What it makes must survive pickling; tensors of another process's CUDA device come to `device`. Every
    process must ask, with the same items.

    Raises:
        UserError: that of the first process that had one, on all of them.
    """
    if world() == 1:
        return [work(item) for item in items]
    start, stop = (len(items) * place // world() for place in (rank(), rank() + 1))
    made, error = _tried(lambda: [work(item) for item in items[start:stop]])
    _raise_first(error)
    packed, parts = io.BytesIO(), [b""] * world()
    torch.save(made, packed)
    dist.all_gather_object(parts, packed.getvalue())
    here = {f"cuda:{number}": str(device) for number in range(torch.cuda.device_count())}
    # what this program has just packed, no file of anybody's: objects may be unpickled
    loaded = (torch.load(io.BytesIO(part), here, weights_only=False) for part in parts)
    return [result for part in loaded for result in part]


@contextmanager
def one_voice(device: torch.device, *ends: type[Exception]) -> Iterator[None]:
    """`joined`, and what stops all is said by the first process: the others leave in silence.

    Raises:
        UserError: of the first process; and what else `ends` a run.
        LocalError: of the process that has it.
    """
    quiet: tuple[type[Exception], ...] = (UserError, *ends)
    with joined(device):
        try:
            yield
        except quiet as error:
            if is_main() or isinstance(error, LocalError):
                raise
            number = getattr(error, "signal", None)
            raise SystemExit(2 if number is None else 128 + number) from None


def exchanged(numbers: Sequence[int]) -> list[list[int]]:
    """As many integers from every process, a row each; they never touch a device."""
    if world() == 1:
        return [list(numbers)]
    own = torch.tensor(numbers, dtype=torch.long)
    rows = [torch.empty_like(own) for _ in range(world())]
    dist.all_gather(rows, own)
    return [row.tolist() for row in rows]


def largest(number: int) -> int:
    """The largest of the processes' numbers."""
    return max(row[0] for row in exchanged([number]))


def added(x: Tensor) -> Tensor:
    """The sum of the processes' tensors, a new one."""
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def add_up(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over processes: all of them in one message."""
    chosen = list(tensors)
    if world() == 1 or not chosen:
        return
    flat = torch.cat([x.detach().reshape(-1) for x in chosen])
    dist.all_reduce(flat)
    for x, part in zip(chosen, torch.split(flat, [x.numel() for x in chosen]), strict=True):
        x.detach().copy_(part.view_as(x))


def copy_from_main(module: nn.Module) -> None:
    """Every process takes the first one's weights and buffers."""
    if world() == 1:
        return
    with torch.no_grad():
        for x in module.state_dict().values():
            sent = x.contiguous().byte() if x.dtype == torch.bool else x.contiguous()
            dist.broadcast(sent, 0)
            x.copy_(sent)
