"""One update as a function of tensors: gradients of the global batch, then the optimizers' step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqvae.config.schema import TrainConfig
from seqvae.distributed import collectives
from seqvae.distributed.batch_shards import BatchShard, global_batch_statistics
from seqvae.distributed.fsdp import is_dtensor
from seqvae.interfaces import Batch
from seqvae.interfaces.outputs import Loss, mean_loss
from seqvae.models.vae import PARTS
from seqvae.numerics import is_static
from seqvae.objectives import INFERENCE_PARTS, TrainStep
from seqvae.training.optim import learning_rate, set_learning_rate
from seqvae.utils.device import autocast


class Update:
    """One update of a model and its objective, without reading a tensor's value on the host.

    All that changes between updates is in tensors: the batches, `step` () int64, `lr_factor` () fp64,
    and the buffers of remedies. So a CUDA graph can capture it once per shape and replay it.
    """

    def __init__(
        self,
        module: TrainStep,
        optimizers: Mapping[str, Optimizer],
        config: TrainConfig,
        total: int,
        precision: str,
        device: torch.device,
    ) -> None:
        self.module, self.optimizers, self.config, self.total = module, optimizers, config, total
        self.precision, self.device = precision, device
        self.step = torch.zeros((), dtype=torch.long, device=device)
        self.lr_factor = torch.ones((), dtype=torch.float64, device=device)
        self.names: list[str] = ["total"]  # of the numbers that an update returns

    def set_schedule(self, step: int, lr_factor: float) -> None:
        """Copy the number of the next update and the plateau rule's factor into the tensors it reads."""
        self.step.fill_(step)
        self.lr_factor.fill_(lr_factor)

    def __call__(self, parts: Sequence[Batch], ours: Sequence[BatchShard]) -> Tensor:
        """Update the model on the `parts` (on the device) of a batch; return the numbers for the log."""
        rate = learning_rate(self.config, self.step, self.total, self.lr_factor)
        for optimizer in self.optimizers.values():
            set_learning_rate(optimizer, rate)
        loss = self.gradients(parts, ours)
        self._keep_gradients(self.module.objective.trainable_parts())
        values = self._optimizer_step(loss)
        self.module.objective.after_step(loss)
        return values

    def encoder_only(self, parts: Sequence[Batch], ours: Sequence[BatchShard]) -> Tensor:
        """Update only the encoder; return the loss (), the mean over the global batch."""
        rate = learning_rate(self.config, self.step, self.total, self.lr_factor)
        for optimizer in self.optimizers.values():
            set_learning_rate(optimizer, rate)
        loss = self.gradients(parts, ours)
        self._keep_gradients(self.module.objective.trainable_parts(INFERENCE_PARTS))
        for parameter in self.module.objective.parameters():  # heads of remedies, discriminators
            parameter.grad = None
        self._optimizer_step(loss)
        return loss.total

    def gradients(self, parts: Sequence[Batch], ours: Sequence[BatchShard]) -> Loss:
        """Back-propagate the parts of a batch; return their loss, detached."""
        return forward_backward(self.module, parts, ours, self.step, self.precision, self.device)

    def _optimizer_step(self, loss: Loss) -> Tensor:
        """Reduce and clip the gradients and step the optimizers; return the numbers for the log."""
        all_reduce_gradients(self.module)
        norm, *_ = clip_grad_norms(self.optimizers.values(), self.config.clip)  # the model's
        values = torch.cat([self._log_values(loss), norm[None].float()])
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        return values

    def _log_values(self, loss: Loss) -> Tensor:
        beta = loss.beta if isinstance(loss.beta, Tensor) else loss.total.new_full((), loss.beta)
        named = {"total": loss.total, "rate": loss.rate, "distortion": loss.distortion, "beta": beta}
        named |= loss.terms
        self.names = [*named, "grad_norm"]
        return torch.stack([v.float() for v in named.values()])

    def _keep_gradients(self, parts: frozenset[str]) -> None:
        """Set the gradients of parts that are not trained to None, before clipping counts them."""
        for name in set(PARTS) - parts:
            for parameter in getattr(self.module.vae, name).parameters():
                parameter.grad = None


def step_seed(seed: int, step: int, inner: int) -> int:
    """The seed of module dropout in one update, different on each rank."""
    words = (1, seed * 0x9E3779B1, step * 0x85EBCA77, inner * 0xC2B2AE3D27D4EB4F)
    return (sum(words) + collectives.rank() * 0x165667B19E3779F9) % 2**63


def forward_backward(
    module: nn.Module,
    parts: Sequence[Batch],
    ours: Sequence[BatchShard],
    step: Tensor | int,
    precision: str,
    device: torch.device,
) -> Loss:
    """Forward and backward over this rank's `parts` of the global batch; the global loss, detached.

    Gradients are this rank's summand: `all_reduce_gradients` adds them up. Each part's loss is weighted by
    its fraction of the global batch, so that the sum of the ranks' losses is the mean over all
    examples, and the same holds for gradients that batch statistics send to other ranks.
    """
    size = sum(share.total for share in ours)
    weights = [share.total / size * share.weight for share in ours]
    losses: list[Loss] = []
    for part, share, weight in zip(parts, ours, weights, strict=True):
        with autocast(precision, device), global_batch_statistics(share):
            loss: Loss = module(part, step)
        total: Tensor = (
            loss.total + loss.adversary
        ) * weight  # accumulation: the mean over a part counts by its examples
        total.backward()  # type: ignore[no-untyped-call,unused-ignore]
        losses.append(loss.detach())
    return _all_reduce_loss(mean_loss(losses, weights))


def count_targets(ours: Sequence[BatchShard]) -> tuple[int, int]:
    """Predicted tokens or images, and examples, in one update of the global batch."""
    return sum(share.num_targets for share in ours), sum(share.total for share in ours)


def _all_reduce_loss(loss: Loss) -> Loss:
    """Sum the ranks' parts of a loss."""
    if collectives.world_size() == 1:
        return loss
    names = ("total", "rate", "distortion", "kl_per_dim", "beta", "adversary")
    numbers = {name: torch.as_tensor(getattr(loss, name)).to(loss.total).clone() for name in names}
    terms = {name: term.to(loss.total).clone() for name, term in loss.terms.items()}
    collectives.all_reduce_coalesced_([*numbers.values(), *terms.values()])
    return Loss(**numbers, terms=terms)


def all_reduce_gradients(module: nn.Module) -> None:
    """Sum the gradients over ranks, in one message after the backward pass.

    By hand instead of DistributedDataParallel: one rule then holds for accumulated parts (whose gradients
    are summed once), for encoder-only updates (frozen parameters have gradient None and send nothing) and for
    remedies' heads and discriminators that only some updates use. DDP's hooks would also send buckets
    between the collectives that batch statistics issue in the backward pass, in an order that is not
    guaranteed. A gradient that is None is None on every rank: all run the same code and no shard is
    empty. The cost: communication does not overlap with computation. FSDP (`distributed.fsdp`) has
    already reduced the gradients of sharded parameters.
    """
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    collectives.all_reduce_coalesced_(grad for grad in gradients if not is_dtensor(grad))


def clip_grad_norms(optimizers: Iterable[Optimizer], limit: float | None) -> list[Tensor]:
    """Clip each optimizer's gradients separately; the norms () before clipping."""
    return [
        _clip_grad_norm([p for group in o.param_groups for p in group["params"]], limit) for o in optimizers
    ]


def _clip_grad_norm(parameters: Iterable[nn.Parameter], limit: float | None) -> Tensor:
    """Clip gradients by their global norm (), over all shards; return the norm before clipping."""
    moved = [p for p in parameters if p.grad is not None]
    norm: Any = nn.utils.get_total_norm([p.grad for p in moved if p.grad is not None])
    norm = norm.full_tensor() if is_dtensor(norm) else norm
    # where the comparison costs no sync, skip a factor of 1: scaling all gradients takes 5 % of a step
    if limit is not None and (norm.is_cuda or is_static() or not bool(norm < limit)):
        nn.utils.clip_grads_with_norm_(moved, limit, norm)
    clear: Tensor = norm
    return clear
