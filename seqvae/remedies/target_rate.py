"""KL penalties whose minimum is at a target rate instead of at zero."""

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
    """Rate of the global batch, mean_x KL(x) in nats: (B, D) -> (1, 1)."""
    return batch_mean(kl.sum(-1, keepdim=True))


class Capacity(Remedy):
    """gamma |KL - C(t)|, C rising linearly from 0 to `nats` over `steps` (80 % of the run).

    Burgess et al. set the largest C to the mean KL of a run with a low beta.

    Args:
        nats: largest C, nats per example.
        gamma: weight of the penalty.
        steps: length of the rise.
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
        """Compute the default length from that of the run."""
        self.steps = self.steps or max(1, round(0.8 * facts.total_steps))

    def schedule_end(self) -> int:
        """The update where C reaches `nats`."""
        return self.steps

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Step) -> Tensor:
        """(B, D) -> (1, 1)."""
        return self.gamma * (batch_rate(kl) - self.nats * linear(step, self.steps)).abs()


class TargetRate(Remedy):
    """weight (KL - nats)^2 on the mean rate of the batch: a penalty that selects a point of the RD curve.

    Args:
        nats: target rate, nats per example.
        weight: factor of the penalty.
    """

    paper = "Alemi et al., Fixing a Broken ELBO"
    year = 2018
    transforms_whole_kl = True

    def __init__(self, nats: NonNegative = 8.0, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.nats, self.weight = nats, weight

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Step) -> Tensor:
        """(B, D) -> (1, 1)."""
        return self.weight * (batch_rate(kl) - self.nats) ** 2
