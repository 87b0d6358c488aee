"""KL annealing: beta as a function of the update, from an autoencoder to the ELBO.

A length left out of the config is a share of the run, stated in each docstring.
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
Step = Tensor | float  # the number of an update: () on the model's device, or a plain number


def linear(step: Step, steps: int) -> Tensor:
    """min(1, t / T), () fp64."""
    return (as_step(step) / steps).clamp(max=1.0)


def sigmoid(step: Step, midpoint: float, slope: float) -> Tensor:
    """1 / (1 + exp(-k (t - t0))), () fp64."""
    # as a tanh the same function does not overflow
    return 0.5 * (1 + torch.tanh(0.5 * slope * (as_step(step) - midpoint)))


def cosine(step: Step, steps: int) -> Tensor:
    """(1 - cos(pi min(1, t / T))) / 2, () fp64."""
    return 0.5 * (1 - torch.cos(math.pi * linear(step, steps)))


def cyclical(step: Step, total: int, cycles: int, ratio: float) -> Tensor:
    """Tau / r in the first share r of each cycle, then 1; tau = (t mod T/M) / (T/M), () fp64."""
    t = as_step(step)
    tau = torch.remainder(t * cycles, total) / total  # exact: a cycle's first step is at 0
    return torch.where(t < total, (tau / ratio).clamp(max=1.0), 1.0)


class ConstantBeta(Remedy):
    """beta KL with a fixed beta: below 1 keeps information, above 1 asks for disentangled codes."""

    paper = (
        "Higgins et al., beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework"
    )
    year = 2017

    def __init__(self, beta: Annotated[float, Field(ge=0)] = 1.0) -> None:
        super().__init__()
        self.factor = beta

    def beta(self, step: Step) -> float:
        """The constant."""
        return self.factor


class _Annealing(Remedy):
    """A rise from 0 to 1 over `steps`, or over a share of the run."""

    share = 0.3

    def __init__(self, steps: Steps | None = None) -> None:
        super().__init__()
        self.steps = steps or 0

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Take the share of the run, where no length was given."""
        self.steps = self.steps or max(1, round(self.share * facts.total_steps))

    def schedule_end(self) -> int:
        """Where beta reaches 1."""
        return self.steps

    @abstractmethod
    def beta(self, step: Step) -> Tensor:
        """The factor at an update."""


class LinearAnnealing(_Annealing):
    """beta = min(1, t / T), T = 30 % of the run unless given."""

    paper = "Bowman et al., Generating Sentences from a Continuous Space"
    year = 2016

    def beta(self, step: Step) -> Tensor:
        """min(1, t / T)."""
        return linear(step, self.steps)


class CosineAnnealing(_Annealing):
    """beta = (1 - cos(pi t / T)) / 2, T = 30 % of the run unless given."""

    paper = "Fu et al., Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing"
    year = 2019

    def beta(self, step: Step) -> Tensor:
        """(1 - cos(pi min(1, t / T))) / 2."""
        return cosine(step, self.steps)


class SigmoidAnnealing(Remedy):
    """beta = 1 / (1 + exp(-k (t - t0))); t0 = 15 % of the run and k = 10 / t0 unless given."""

    paper = "Bowman et al., Generating Sentences from a Continuous Space"
    year = 2016

    def __init__(
        self, midpoint: Steps | None = None, slope: Annotated[float, Field(gt=0)] | None = None
    ) -> None:
        super().__init__()
        self.midpoint, self.slope = midpoint or 0, slope or 0.0

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Take the share of the run, where no midpoint was given."""
        self.midpoint = self.midpoint or max(1, round(0.15 * facts.total_steps))
        self.slope = self.slope or 10 / self.midpoint

    def schedule_end(self) -> int:
        """Where beta passes 0.99."""
        return math.ceil(self.midpoint + math.log(99) / self.slope)

    def beta(self, step: Step) -> Tensor:
        """1 / (1 + exp(-k (t - t0)))."""
        return sigmoid(step, self.midpoint, self.slope)


class ExponentialAnnealing(Remedy):
    """beta = maximum x (1 - rate^t), as MusicVAE trains."""

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
        """Where beta passes 99 % of its maximum."""
        return math.ceil(math.log(0.01) / math.log(self.rate))

    def beta(self, step: Step) -> Tensor:
        """The maximum times 1 - rate^t."""
        return self.maximum * (1 - self.rate ** as_step(step))


class CyclicalAnnealing(Remedy):
    """M cycles over the run, each rising linearly in its first share r and then staying at 1."""

    paper = "Fu et al., Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing"
    year = 2019

    def __init__(self, cycles: Steps = 4, ratio: Share = 0.5) -> None:
        super().__init__()
        self.cycles, self.ratio, self.total = cycles, ratio, 0

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Learn the run's length."""
        self.total = facts.total_steps

    def schedule_end(self) -> int:
        """The start of the last plateau."""
        return math.ceil(self.total * (self.cycles - 1 + self.ratio) / self.cycles)

    def beta(self, step: Step) -> Tensor:
        """The factor at an update."""
        return cyclical(step, self.total, self.cycles, self.ratio)
