"""The ELBO, and every call of a remedy: nothing else in the house calls one while training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from seqvae.batch import Loss, VAEOutput
from seqvae.interfaces import Batch, Remedy, Sourced
from seqvae.model import PARTS, VAE
from seqvae.registry import UserError


class ELBO(nn.Module, Sourced):
    """-E_q log p(x|z) + beta KL(q(z|x) || p(z)), mean over sentences, with remedies at their seams.

    `ELBO([])` is the plain negative ELBO in nats a sentence (Kingma & Welling 2014, eq. 3).

    Raises:
        UserError: two remedies that each reshape the whole KL.
    """

    paper = "Kingma & Welling, Auto-Encoding Variational Bayes"
    year = 2014

    def __init__(self, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__()
        self.remedies = nn.ModuleList(remedies)
        shapers = [type(r).__name__ for r in self.cures if r.shapes_whole_kl]
        if len(shapers) > 1:
            raise UserError(f"{' and '.join(shapers)} both reshape the whole KL: keep one of them")

    @property
    def cures(self) -> list[Remedy]:
        """The remedies, in the order in which a batch meets them."""
        return cast(list[Remedy], list(self.remedies))

    def forward(self, vae: VAE, batch: Batch, step: int) -> Loss:
        """The loss of one batch at update `step`."""
        for remedy in self.cures:
            batch = remedy.encoder_reads(batch)
        for remedy in self.cures:
            batch = remedy.decoder_reads(batch)
        out = vae(batch)
        shaped = self._shaped(out, step).sum(-1).mean()
        beta = self.beta(step)
        terms = self._extra(vae, out, batch)
        distortion = out.distortion.mean()
        total = distortion + beta * shaped
        for term in terms.values():
            total = total + term
        adversary = self._adversary(out, batch, like=total)
        return Loss(total, out.rate.mean(), distortion, out.kl.mean((0, 1)), beta, terms, adversary)

    def beta(self, step: int) -> Tensor | float:
        """The product of all factors at update `step`."""
        factor: Tensor | float = 1.0
        for remedy in self.cures:
            factor = factor * remedy.beta(step)
        return factor

    def adversaries(self) -> list[nn.Module]:
        """The second players, whose parameters have an optimizer of their own."""
        return [rival for remedy in self.cures if (rival := remedy.adversary()) is not None]

    def settled_at(self) -> int:
        """The update from which no schedule changes any more; no checkpoint is chosen before."""
        return max((remedy.settled_at() for remedy in self.cures), default=0)

    def trained_parts(self) -> frozenset[str]:
        """The parts that the coming update moves."""
        parts = frozenset(PARTS)
        for remedy in self.cures:
            parts = remedy.trained_parts(parts)
        return parts

    def after_step(self, loss: Loss) -> None:
        """Pass the loss of an update on to controllers."""
        for remedy in self.cures:
            remedy.after_step(loss)

    def after_validation(self, metrics: dict[str, float]) -> None:
        """Pass a validation on to stop rules."""
        for remedy in self.cures:
            remedy.after_validation(metrics)

    def _shaped(self, out: VAEOutput, step: int) -> Tensor:
        kl = out.kl.mean(0)  # (B, D)
        for remedy in self.cures:
            kl = remedy.shape_kl(kl, out, step)
        return kl

    def _adversary(self, out: VAEOutput, batch: Batch, like: Tensor) -> Tensor:
        """The second players' own losses."""
        losses: list[Tensor] = [rival(out, batch) for rival in self.adversaries()]
        return torch.stack(losses).sum() if losses else like.new_zeros(())

    def _extra(self, vae: VAE, out: VAEOutput, batch: Batch) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for remedy in self.cures:
            terms |= remedy.extra(vae, out, batch)
        return terms


class TrainStep(nn.Module):
    """Model and objective as one module: what a distributed wrapper wraps."""

    def __init__(self, vae: VAE, objective: ELBO) -> None:
        super().__init__()
        self.vae, self.objective = vae, objective

    def forward(self, batch: Batch, step: int) -> Loss:
        """The loss of one batch; latents and losses stay in fp32 under autocast."""
        loss: Loss = self.objective(self.vae, batch, step)
        return loss


OBJECTIVES: dict[str, type[ELBO]] = {"elbo": ELBO}
