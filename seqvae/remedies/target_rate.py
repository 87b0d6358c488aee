"""Losses whose minimum lies at a wanted rate instead of at zero."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from seqvae.distributed.batch_statistics import batch_mean
from seqvae.interfaces import Remedy, RunContext
from seqvae.interfaces.outputs import VAEOutput
from seqvae.remedies.schedules import Step, linear

NonNegative = Annotated[float, Field(ge=0)]


def batch_rate(kl: Tensor) -> Tensor:
    """mean_x KL(x) in nats: (B, D) -> (1, 1)."""
    return batch_mean(kl.sum(-1, keepdim=True))


class Capacity(Remedy):
    """gamma |KL - C(t)|, C rising linearly from 0 to `nats` over `steps` (80 % of the run).

    Burgess et al. take the largest C from the mean KL of a run with a low beta.
    """

    paper = "Burgess et al., Understanding Disentangling in beta-VAE"
    year = 2018
    transforms_whole_kl = True

    def __init__(
        self,
        nats: NonNegative = 8.0,
        gamma: NonNegative = 10.0,
        steps: Annotated[int, Field(gt=0)] | None = None,
    ) -> None:
        super().__init__()
        self.nats, self.gamma, self.steps = nats, gamma, steps or 0

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Take the share of the run, where no length was given."""
        self.steps = self.steps or max(1, round(0.8 * facts.total_steps))

    def schedule_end(self) -> int:
        """Where C stops rising."""
        return self.steps

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Step) -> Tensor:
        """(B, D) -> (1, 1)."""
        return self.gamma * (batch_rate(kl) - self.nats * linear(step, self.steps)).abs()


class TargetRate(Remedy):
    """weight (KL - nats)^2 on the batch's mean rate: a point of the rate-distortion curve by a penalty."""

    paper = "Alemi et al., Fixing a Broken ELBO"
    year = 2018
    transforms_whole_kl = True

    def __init__(self, nats: NonNegative = 8.0, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.nats, self.weight = nats, weight

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Step) -> Tensor:
        """(B, D) -> (1, 1)."""
        return self.weight * (batch_rate(kl) - self.nats) ** 2
