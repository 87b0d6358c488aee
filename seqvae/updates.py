"""The arithmetic of one update: gradients and numbers of the global batch, whatever processes share it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqvae import distributed
from seqvae.batch import Loss, mean_loss
from seqvae.device import autocast
from seqvae.interfaces import Batch
from seqvae.sharding import is_share
from seqvae.shares import shares, sharing


def mixed_seed(seed: int, step: int, inner: int) -> int:
    """The seed of module dropout in one update, another one for each process."""
    words = (1, seed * 0x9E3779B1, step * 0x85EBCA77, inner * 0xC2B2AE3D27D4EB4F)
    return (sum(words) + distributed.rank() * 0x165667B19E3779F9) % 2**63


def back_propagated(
    module: nn.Module, parts: Sequence[Batch], step: int, precision: str, device: torch.device
) -> tuple[Loss, int, int]:
    """Loss, detached, units and examples of the global batch of which `parts` are this process's.

    Gradients are this process's summand: `add_gradients` adds them up. The loss of a part counts what its
    examples are of the global batch, so that the sum of the processes' losses is the mean over all examples,
    and so is every gradient that a statistic of the batch sends to other processes.
    """
    ours = shares(parts)
    size = sum(share.total for share in ours)
    weights = [share.total / size * share.weight for share in ours]
    losses: list[Loss] = []
    for part, share, weight in zip(parts, ours, weights, strict=True):
        with autocast(precision, device), sharing(share):
            loss: Loss = module(part.to(device), step)
        total: Tensor = (loss.total + loss.adversary) * weight
        total.backward()  # type: ignore[no-untyped-call,unused-ignore]
        losses.append(loss.detach())
    return _over_processes(mean_loss(losses, weights)), sum(share.units for share in ours), size


def _over_processes(loss: Loss) -> Loss:
    """The sum of the processes' parts of a loss."""
    if distributed.world() == 1:
        return loss
    names = ("total", "rate", "distortion", "kl_per_dim", "beta", "adversary")
    numbers = {name: torch.as_tensor(getattr(loss, name)).to(loss.total).clone() for name in names}
    terms = {name: term.to(loss.total).clone() for name, term in loss.terms.items()}
    distributed.add_up([*numbers.values(), *terms.values()])
    return Loss(**numbers, terms=terms)


def add_gradients(module: nn.Module) -> None:
    """Add the processes' gradients up, in one message after all of them are there.

    By hand and not by DistributedDataParallel: one rule then holds for parts of an update (whose gradients
    are added up once), for the encoder's own updates (what is frozen has None, and sends nothing) and for
    heads of remedies and second players that only some updates use. Its hooks would also send buckets
    between the messages by which statistics of the batch send gradients back, in an order that no one
    promises. What is None is so on every process: all run the same code on their share, and no share is
    empty. The price is that nothing is sent while gradients are still computed. Of parameters that are cut
    (`sharding`) each process has its share of the sum already.
    """
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    distributed.add_up(grad for grad in gradients if not is_share(grad))


def clipped(optimizers: Iterable[Optimizer], limit: float | None) -> list[Tensor]:
    """Clip each optimizer's gradients apart; the norms () before clipping."""
    return [_clipped([p for group in o.param_groups for p in group["params"]], limit) for o in optimizers]


def _clipped(parameters: Iterable[nn.Parameter], limit: float | None) -> Tensor:
    """Clip gradients by their norm (), that of all processes' shares; it is returned."""
    moved = [p for p in parameters if p.grad is not None]
    norm: Any = nn.utils.get_total_norm([p.grad for p in moved if p.grad is not None])
    norm = norm.full_tensor() if is_share(norm) else norm
    # a factor of 1 is spared where asking is free: a pass over all gradients is a twentieth of a step
    if limit is not None and (norm.is_cuda or not bool(norm < limit)):
        nn.utils.clip_grads_with_norm_(moved, limit, norm)
    clear: Tensor = norm
    return clear
