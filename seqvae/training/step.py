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
    """One update of a model and its objective, which never reads a value of a tensor on the host.

    All that varies from update to update lies in tensors: the batches, `step` () int64, `lr_factor` () fp64,
    and what remedies keep in their buffers. So a GPU may record it once for each shape and replay it.
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
        self.names: list[str] = ["total"]  # of the numbers that an update gives

    def set_schedule(self, step: int, lr_factor: float) -> None:
        """Put the coming update's number and the plateau rule's factor where the function reads them."""
        self.step.fill_(step)
        self.lr_factor.fill_(lr_factor)

    def __call__(self, parts: Sequence[Batch], ours: Sequence[BatchShard]) -> Tensor:
        """Move the model by one update on `parts` (on the device) of a batch; numbers for the log."""
        rate = learning_rate(self.config, self.step, self.total, self.lr_factor)
        for optimizer in self.optimizers.values():
            set_learning_rate(optimizer, rate)
        loss = self.gradients(parts, ours)
        self._keep_gradients(self.module.objective.trainable_parts())
        values = self._optimizer_step(loss)
        self.module.objective.after_step(loss)
        return values

    def encoder_only(self, parts: Sequence[Batch], ours: Sequence[BatchShard]) -> Tensor:
        """Move the encoder alone; the loss (), mean over the examples of the global batch."""
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
        """Back-propagate the parts of a batch; their loss, detached."""
        return forward_backward(self.module, parts, ours, self.step, self.precision, self.device)

    def _optimizer_step(self, loss: Loss) -> Tensor:
        """Let the optimizers move what has gradients; the numbers for the log."""
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
        """Gradients of a frozen part are None before clipping, or the optimizer would move it."""
        for name in set(PARTS) - parts:
            for parameter in getattr(self.module.vae, name).parameters():
                parameter.grad = None


def step_seed(seed: int, step: int, inner: int) -> int:
    """The seed of module dropout in one update, another one for each process."""
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
    """Loss, detached, of the global batch of which `parts` are this process's, with their shares of it.

    Gradients are this process's summand: `all_reduce_gradients` adds them up. The loss of a part counts what
    its examples are of the global batch, so that the sum of the processes' losses is the mean over all
    examples, and so is every gradient that a statistic of the batch sends to other processes.
    """
    size = sum(share.total for share in ours)
    weights = [share.total / size * share.weight for share in ours]
    losses: list[Loss] = []
    for part, share, weight in zip(parts, ours, weights, strict=True):
        with autocast(precision, device), global_batch_statistics(share):
            loss: Loss = module(part, step)
        total: Tensor = (loss.total + loss.adversary) * weight  # a part's mean counts as its examples do
        total.backward()  # type: ignore[no-untyped-call,unused-ignore]
        losses.append(loss.detach())
    return _all_reduce_loss(mean_loss(losses, weights))


def count_targets(ours: Sequence[BatchShard]) -> tuple[int, int]:
    """Predicted tokens or pictures, and examples, of an update of the global batch."""
    return sum(share.num_targets for share in ours), sum(share.total for share in ours)


def _all_reduce_loss(loss: Loss) -> Loss:
    """The sum of the processes' parts of a loss."""
    if collectives.world_size() == 1:
        return loss
    names = ("total", "rate", "distortion", "kl_per_dim", "beta", "adversary")
    numbers = {name: torch.as_tensor(getattr(loss, name)).to(loss.total).clone() for name in names}
    terms = {name: term.to(loss.total).clone() for name, term in loss.terms.items()}
    collectives.all_reduce_coalesced_([*numbers.values(), *terms.values()])
    return Loss(**numbers, terms=terms)


def all_reduce_gradients(module: nn.Module) -> None:
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
    collectives.all_reduce_coalesced_(grad for grad in gradients if not is_dtensor(grad))


def clip_grad_norms(optimizers: Iterable[Optimizer], limit: float | None) -> list[Tensor]:
    """Clip each optimizer's gradients apart; the norms () before clipping."""
    return [
        _clip_grad_norm([p for group in o.param_groups for p in group["params"]], limit) for o in optimizers
    ]


def _clip_grad_norm(parameters: Iterable[nn.Parameter], limit: float | None) -> Tensor:
    """Clip gradients by their norm (), that of all processes' shares; it is returned."""
    moved = [p for p in parameters if p.grad is not None]
    norm: Any = nn.utils.get_total_norm([p.grad for p in moved if p.grad is not None])
    norm = norm.full_tensor() if is_dtensor(norm) else norm
    # a factor of 1 is spared where asking is free: a pass over all gradients is a twentieth of a step
    if limit is not None and (norm.is_cuda or is_static() or not bool(norm < limit)):
        nn.utils.clip_grads_with_norm_(moved, limit, norm)
    clear: Tensor = norm
    return clear
