"""What any loss is, with every call of a remedy: nothing else calls one.

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

INFERENCE_PARTS = frozenset({"encoder", "latent"})  # what the encoder's own updates may move


class Objective(nn.Module, Citable, ABC):
    """A loss with remedies at their seams."""

    def __init__(self, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__()
        self.remedies = nn.ModuleList(remedies)

    @abstractmethod
    def forward(self, vae: VAE, batch: Batch, step: Tensor | int) -> Loss:
        """The loss of one batch at update `step`, a tensor () on the device in training."""

    def attach(self, vae: VAE, facts: RunContext | None = None) -> None:
        """Refuse a model or data for which this loss has no meaning; called once.

        Raises:
            UserError: such a model.
        """

    @property
    def remedy_list(self) -> list[Remedy]:
        """The remedies, in the order in which a batch meets them."""
        return cast(list[Remedy], list(self.remedies))

    def beta(self, step: Tensor | int) -> Tensor | float:
        """The product of all factors at update `step`, () fp32 where it is a tensor."""
        factor: Tensor | float = 1.0
        for remedy in self.remedy_list:
            factor = factor * remedy.beta(step)
        return factor.float() if isinstance(factor, Tensor) else factor

    def discriminators(self) -> list[nn.Module]:
        """The second players, whose parameters have an optimizer of their own."""
        return [rival for remedy in self.remedy_list if (rival := remedy.discriminator()) is not None]

    def schedule_end(self) -> int:
        """The update from which no schedule changes any more; no checkpoint is chosen before."""
        return max((remedy.schedule_end() for remedy in self.remedy_list), default=0)

    def trainable_parts(self, parts: Iterable[str] = PARTS) -> frozenset[str]:
        """Which of `parts` the coming update moves."""
        moved = frozenset(parts)
        for remedy in self.remedy_list:
            moved = remedy.trainable_parts(moved)
        return moved

    def extra_encoder_step(self, losses: Sequence[Tensor]) -> bool:
        """Whether some remedy gives the encoder one more update of its own, after those of `losses`."""
        return any(remedy.extra_encoder_step(losses) for remedy in self.remedy_list)

    def capture_obstacle(self) -> str:
        """Why the coming updates cannot be captured, for the first remedy that says so; empty if they can."""
        return next((reason for remedy in self.remedy_list if (reason := remedy.capture_obstacle())), "")

    def wants_mi(self) -> bool:
        """Whether some remedy needs `mi_low` of the coming validation."""
        return any(remedy.wants_mi() for remedy in self.remedy_list)

    def after_step(self, loss: Loss) -> None:
        """Pass the loss of an update on to controllers."""
        for remedy in self.remedy_list:
            remedy.after_step(loss)

    def after_validation(self, metrics: dict[str, float]) -> None:
        """Pass a validation on to stop rules."""
        for remedy in self.remedy_list:
            remedy.after_validation(metrics)

    def _apply_input_hooks(self, batch: Batch) -> Batch:
        """The batch as remedies let encoder and decoder read it."""
        for remedy in self.remedy_list:
            batch = remedy.on_encoder_input(batch)
        for remedy in self.remedy_list:
            batch = remedy.on_decoder_input(batch)
        return batch

    def _decode(self, vae: VAE, batch: Batch, q: Posterior, z: Tensor) -> VAEOutput:
        """The walk from codes (S, B, D) on, with what remedies let the decoder read of them."""
        read = z
        for remedy in self.remedy_list:
            read = remedy.on_latent(read, batch)
        return vae.decode_from(batch, q, z, read)

    def _transformed_kl(self, out: VAEOutput, step: Tensor | int) -> Tensor:
        """The KL (B, any), or (1, any), as remedies let the optimizer see it."""
        kl = out.kl.mean(0)  # (B, D)
        for remedy in self.remedy_list:
            kl = remedy.transform_kl(kl, out, step)
        return kl

    def _loss(self, plain: Tensor, beta: Tensor | float, vae: VAE, out: VAEOutput, batch: Batch) -> Loss:
        """`plain` with the further terms; rate and distortion are those of the plain ELBO, whatever it is."""
        terms: dict[str, Tensor] = {}
        for remedy in self.remedy_list:
            terms |= remedy.auxiliary_losses(vae, out, batch)
        total = plain
        for term in terms.values():
            total = total + term
        losses: list[Tensor] = [rival(out, batch) for rival in self.discriminators()]
        adversary = torch.stack(losses).sum() if losses else total.new_zeros(())
        rate, distortion, kl_per_dim = out.rate.mean(), out.distortion.mean(), out.kl.mean((0, 1))
        return Loss(total, rate, distortion, kl_per_dim, beta, terms, adversary)


class TrainStep(nn.Module):
    """Model and objective as one module: what a distributed wrapper wraps."""

    def __init__(self, vae: VAE, objective: Objective) -> None:
        super().__init__()
        self.vae, self.objective = vae, objective

    def forward(self, batch: Batch, step: Tensor | int) -> Loss:
        """The loss of one batch; latents and losses stay in fp32 under autocast."""
        loss: Loss = self.objective(self.vae, batch, step)
        return loss


def check_single_kl_transform(remedies: Sequence[Remedy]) -> None:
    """Refuse two remedies that each reshape the whole KL.

    Raises:
        UserError: such remedies.
    """
    shapers = [type(r).__name__ for r in remedies if r.transforms_whole_kl]
    if len(shapers) > 1:
        raise UserError(f"{' and '.join(shapers)} both reshape the whole KL: keep one of them")
