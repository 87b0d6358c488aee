"""KL annealing: schedules of beta, most of them from 0 (an autoencoder) to 1 (the ELBO).

By default a schedule's length is a fraction of the run, stated in each docstring. Shapes: all tensors are ().
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Remedy, RunContext
from seqvae.numerics import as_step

Steps = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Step = Tensor | float  # number of the update: () on the device of the model, or a Python number


def linear(step: Step, steps: int) -> Tensor:
    """min(1, t / T), () fp64.

    Example:
        >>> linear(25, steps=100).item()
        0.25
    """
    return (as_step(step) / steps).clamp(max=1.0)


def sigmoid(step: Step, midpoint: float, slope: float) -> Tensor:
    """1 / (1 + exp(-k (t - t0))), () fp64."""
    # the tanh form does not overflow
    return 0.5 * (1 + torch.tanh(0.5 * slope * (as_step(step) - midpoint)))


def cosine(step: Step, steps: int) -> Tensor:
    """(1 - cos(pi min(1, t / T))) / 2, () fp64."""
    return 0.5 * (1 - torch.cos(math.pi * linear(step, steps)))


def cyclical(step: Step, total: int, cycles: int, ratio: float) -> Tensor:
    """min(1, tau / r) with tau = (t mod T/M) / (T/M) for M = `cycles`, r = `ratio`; 1 from T = `total` on."""
    t = as_step(step)
    tau = torch.remainder(t * cycles, total) / total  # the product is exact: each cycle starts at 0
    return torch.where(t < total, (tau / ratio).clamp(max=1.0), 1.0)


class ConstantBeta(Remedy):
    """Constant beta: below 1 it keeps information in the code, above 1 it favours disentangled codes.

    Args:
        beta: the weight of the KL.
    """

    paper = (
        "Higgins et al., beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework"
    )
    year = 2017

    def __init__(self, beta: Annotated[float, Field(ge=0)] = 1.0) -> None:
        super().__init__()
        self.factor = beta

    def beta(self, step: Step) -> float:
        """The constant beta."""
        return self.factor


class _Annealing(Remedy):
    """A rise from 0 to 1 over `steps`, by default a fraction `share` of the run."""

    share = 0.3

    def __init__(self, steps: Steps | None = None) -> None:
        super().__init__()
        self.steps = steps or 0

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Compute the default length from that of the run."""
        self.steps = self.steps or max(1, round(self.share * facts.total_steps))

    def schedule_end(self) -> int:
        """The update where beta reaches 1."""
        return self.steps

    @abstractmethod
    def beta(self, step: Step) -> Tensor:
        """The weight of the KL at update `step`."""


class LinearAnnealing(_Annealing):
    """beta = min(1, t / T), T = `steps`, by default 30 % of the run."""

    paper = "Bowman et al., Generating Sentences from a Continuous Space"
    year = 2016

    def beta(self, step: Step) -> Tensor:
        """min(1, t / T)."""
        return linear(step, self.steps)


class CosineAnnealing(_Annealing):
    """beta = (1 - cos(pi t / T)) / 2 up to T = `steps`, by default 30 % of the run, then 1."""

    paper = "Fu et al., Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing"
    year = 2019

    def beta(self, step: Step) -> Tensor:
        """(1 - cos(pi min(1, t / T))) / 2."""
        return cosine(step, self.steps)


class SigmoidAnnealing(Remedy):
    """beta = 1 / (1 + exp(-k (t - t0))), by default t0 = 15 % of the run and k = 10 / t0.

    Args:
        midpoint: t0, where beta is 0.5.
        slope: k.
    """

    paper = "Bowman et al., Generating Sentences from a Continuous Space"
    year = 2016

    def __init__(
        self, midpoint: Steps | None = None, slope: Annotated[float, Field(gt=0)] | None = None
    ) -> None:
        super().__init__()
        self.midpoint, self.slope = midpoint or 0, slope or 0.0

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Compute the default midpoint and slope from the length of the run."""
        self.midpoint = self.midpoint or max(1, round(0.15 * facts.total_steps))
        self.slope = self.slope or 10 / self.midpoint

    def schedule_end(self) -> int:
        """The update where beta passes 0.99."""
        return math.ceil(self.midpoint + math.log(99) / self.slope)

    def beta(self, step: Step) -> Tensor:
        """1 / (1 + exp(-k (t - t0)))."""
        return sigmoid(step, self.midpoint, self.slope)


class ExponentialAnnealing(Remedy):
    """beta = maximum x (1 - rate^t), as MusicVAE is trained.

    Args:
        rate: decay per update.
        maximum: the limit of beta.
    """

    paper = "Roberts et al., A Hierarchical Latent Vector Model for Learning Long-Term Structure in Music"
    year = 2018

    def __init__(
        self,
        rate: Annotated[float, Field(gt=0, lt=1)] = 0.999,
        maximum: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        self.rate, self.maximum = rate, maximum

    def schedule_end(self) -> int:
        """The update where beta passes 99 % of its maximum."""
        return math.ceil(math.log(0.01) / math.log(self.rate))

    def beta(self, step: Step) -> Tensor:
        """The maximum times 1 - rate^t."""
        return self.maximum * (1 - self.rate ** as_step(step))


class CyclicalAnnealing(Remedy):
    """M cycles over the run, each with a linear rise in its first part r, followed by beta = 1.

    Args:
        cycles: M.
        ratio: r, as a fraction of a cycle.
    """

    paper = "Fu et al., Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing"
    year = 2019

    def __init__(self, cycles: Steps = 4, ratio: Share = 0.5) -> None:
        super().__init__()
        self.cycles, self.ratio, self.total = cycles, ratio, 0

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Store the length of the run."""
        self.total = facts.total_steps

    def schedule_end(self) -> int:
        """The start of the last plateau."""
        return math.ceil(self.total * (self.cycles - 1 + self.ratio) / self.cycles)

    def beta(self, step: Step) -> Tensor:
        """The weight of the KL at update `step`."""
        return cyclical(step, self.total, self.cycles, self.ratio)
