"""Base class of training objectives, the only caller of the remedies' hooks.

Shapes: S samples, B examples, D latent dims.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from seqvae.errors import UserError
from seqvae.interfaces import Batch, Citable, Posterior, Remedy, RunContext
from seqvae.interfaces.outputs import Loss, VAEOutput
from seqvae.models.vae import PARTS, VAE

INFERENCE_PARTS = frozenset({"encoder", "latent"})  # trained by an extra encoder update


class Objective(nn.Module, Citable, ABC):
    """A training objective; it calls the hooks of its remedies.

    Args:
        remedies: applied in this order; their weights of the KL are multiplied, their losses added.
    """

    def __init__(self, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__()
        self.remedies = nn.ModuleList(remedies)

    @abstractmethod
    def forward(self, vae: VAE, batch: Batch, step: Tensor | int) -> Loss:
        """The loss of one batch.

        Args:
            vae: the model.
            batch: B examples.
            step: number of the update, from 0; in training an int64 tensor () on the device.

        Returns:
            Totals in nats, averaged over the examples.
        """

    def attach(self, vae: VAE, facts: RunContext | None = None) -> None:
        """Reject a model or data for which this objective is undefined; called once before training.

        Raises:
            UserError: the objective does not work with this model or data.
        """

    @property
    def remedy_list(self) -> list[Remedy]:
        """The remedies, in the order in which they are applied."""
        return cast(list[Remedy], list(self.remedies))

    def beta(self, step: Tensor | int) -> Tensor | float:
        """Product of the remedies' KL weights at update `step`, () fp32 where it is a tensor."""
        factor: Tensor | float = 1.0
        for remedy in self.remedy_list:
            factor = factor * remedy.beta(step)
        return factor.float() if isinstance(factor, Tensor) else factor

    def discriminators(self) -> list[nn.Module]:
        """Discriminators of the remedies, which are trained by an optimizer of their own."""
        return [module for remedy in self.remedy_list if (module := remedy.discriminator()) is not None]

    def schedule_end(self) -> int:
        """The update from which all schedules are constant; no checkpoint is selected before it."""
        return max((remedy.schedule_end() for remedy in self.remedy_list), default=0)

    def trainable_parts(self, parts: Iterable[str] = PARTS) -> frozenset[str]:
        """The subset of `parts` that the next update trains."""
        trained = frozenset(parts)
        for remedy in self.remedy_list:
            trained = remedy.trainable_parts(trained)
        return trained

    def extra_encoder_step(self, losses: Sequence[Tensor]) -> bool:
        """Whether some remedy asks for an extra encoder update, given the `losses` () of those so far."""
        return any(remedy.extra_encoder_step(losses) for remedy in self.remedy_list)

    def capture_obstacle(self) -> str:
        """Why the next updates cannot be captured as a CUDA graph; empty if they can."""
        return next((reason for remedy in self.remedy_list if (reason := remedy.capture_obstacle())), "")

    def wants_mi(self) -> bool:
        """Whether some remedy needs the next validation to estimate `mi_low`."""
        return any(remedy.wants_mi() for remedy in self.remedy_list)

    def after_step(self, loss: Loss) -> None:
        """Call the hook of every remedy with the loss of an update."""
        for remedy in self.remedy_list:
            remedy.after_step(loss)

    def after_validation(self, metrics: dict[str, float]) -> None:
        """Call the hook of every remedy with the metrics of a validation."""
        for remedy in self.remedy_list:
            remedy.after_validation(metrics)

    def _apply_input_hooks(self, batch: Batch) -> Batch:
        """The batch after the remedies' changes to the inputs of encoder and decoder."""
        for remedy in self.remedy_list:
            batch = remedy.on_encoder_input(batch)
        for remedy in self.remedy_list:
            batch = remedy.on_decoder_input(batch)
        return batch

    def _decode(self, vae: VAE, batch: Batch, q: Posterior, z: Tensor) -> VAEOutput:
        """Run prior and decoder; remedies may change the codes (S, B, D) that the decoder reads."""
        read = z  # apart from z, whose KL and densities must not see the remedies' changes
        for remedy in self.remedy_list:
            read = remedy.on_latent(read, batch)
        return vae.decode_from(batch, q, z, read)

    def _transformed_kl(self, out: VAEOutput, step: Tensor | int) -> Tensor:
        """The KL that enters the loss, (B, any) or (1, any) nats, after the remedies' transforms."""
        kl = out.kl.mean(0)  # (B, D)
        for remedy in self.remedy_list:
            kl = remedy.transform_kl(kl, out, step)
        return kl

    def _loss(self, plain: Tensor, beta: Tensor | float, vae: VAE, out: VAEOutput, batch: Batch) -> Loss:
        """The loss from `plain` and the auxiliary losses; rate and distortion are those of the plain ELBO."""
        terms: dict[str, Tensor] = {}
        for remedy in self.remedy_list:
            terms |= remedy.auxiliary_losses(vae, out, batch)
        total = plain
        for term in terms.values():
            total = total + term
        losses: list[Tensor] = [module(out, batch) for module in self.discriminators()]
        adversary = torch.stack(losses).sum() if losses else total.new_zeros(())
        rate, distortion, kl_per_dim = out.rate.mean(), out.distortion.mean(), out.kl.mean((0, 1))
        return Loss(total, rate, distortion, kl_per_dim, beta, terms, adversary)


class TrainStep(nn.Module):
    """Model and objective as one module, whose forward pass a compiler or FSDP can wrap."""

    def __init__(self, vae: VAE, objective: Objective) -> None:
        super().__init__()
        self.vae, self.objective = vae, objective

    def forward(self, batch: Batch, step: Tensor | int) -> Loss:
        """The loss of one batch at update `step`."""
        loss: Loss = self.objective(self.vae, batch, step)
        return loss


def check_single_kl_transform(remedies: Sequence[Remedy]) -> None:
    """Reject two remedies that each transform the whole KL.

    Raises:
        UserError: there are two or more of them.
    """
    names = [type(r).__name__ for r in remedies if r.transforms_whole_kl]
    if len(names) > 1:  # the second would read a sum over dims or a mean over examples as if it were a KL
        raise UserError(f"{' and '.join(names)} both reshape the whole KL: keep one of them")
