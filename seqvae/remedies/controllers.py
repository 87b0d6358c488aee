"""Controllers that adapt beta after every update to reach a target rate or distortion."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from seqvae.interfaces import Remedy
from seqvae.interfaces.outputs import Loss

Positive = Annotated[float, Field(gt=0)]


def pi_control(
    error: Tensor, integral: Tensor, kp: float, ki: float, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """One step of the PI law: beta = Kp / (1 + e^error) - Ki sum(error) + low, within [low, high].

    Args:
        error: KL* - KL () in nats.
        integral: sum of errors () so far.
        kp: Kp, gain of the proportional part.
        ki: Ki, gain of the integral part.
        low: smallest beta.
        high: largest beta.

    Returns:
        beta () and the new sum ().

    Example:
        >>> beta, _ = pi_control(torch.tensor(-4.0), torch.tensor(0.0), kp=0.01, ki=1e-4, low=0.0, high=1.0)
        >>> round(beta.item(), 4)  # the KL is 4 nats too high
        0.0102
    """
    summed = integral + error
    unclipped = kp / (1 + torch.exp(error)) - ki * summed + low
    # anti-windup: the sum does not grow while the error pushes a clipped beta further out
    stuck = ((unclipped > high) & (error < 0)) | ((unclipped < low) & (error > 0))
    kept = torch.where(stuck, integral, summed)
    beta = kp / (1 + torch.exp(error)) - ki * kept + low
    return beta.clamp(low, high), kept


class ControlVAE(Remedy):
    """beta from a PI controller that holds the KL at `nats`.

    Args:
        nats: target of the KL, nats per example.
        kp: gain of the proportional part.
        ki: gain of the integral part.
        low: smallest beta.
        high: largest beta.
    """

    paper = "Shao et al., ControlVAE: Controllable Variational Autoencoder"
    year = 2020

    def __init__(
        self,
        nats: Positive = 8.0,
        kp: Positive = 0.01,
        ki: Positive = 1e-4,
        low: Annotated[float, Field(ge=0)] = 0.0,
        high: Positive = 1.0,
    ) -> None:
        super().__init__()
        self.nats, self.kp, self.ki, self.low, self.high = nats, kp, ki, low, high
        self.register_buffer("integral", torch.zeros(()))
        self.register_buffer("now", torch.tensor(low))
        self.integral: Tensor
        self.now: Tensor

    def beta(self, step: Tensor | int) -> Tensor:
        """The value after the last update."""
        return self.now.clone()  # after_step changes the buffer in place, and the loss keeps this value

    def after_step(self, loss: Loss) -> None:
        """Update beta from the rate of the batch."""
        error = self.nats - loss.rate.detach()
        now, integral = pi_control(error, self.integral, self.kp, self.ki, self.low, self.high)
        self.now.copy_(now)
        self.integral.copy_(integral)


class GECO(Remedy):
    """min KL subject to distortion <= `distortion` nats: KL + lambda (D - D*), as beta = 1 / lambda.

    lambda <- lambda exp(speed x C), C the moving average of (D - D*) / D*.

    Args:
        distortion: D*, nats per example.
        speed: step size of log lambda.
        decay: decay of the moving average.
        low: smallest beta.
        high: largest beta.
    """

    paper = "Rezende & Viola, Taming VAEs"
    year = 2018

    def __init__(
        self,
        distortion: Positive = 80.0,
        speed: Positive = 0.01,
        decay: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        low: Positive = 1e-3,
        high: Positive = 10.0,
    ) -> None:
        super().__init__()
        self.wanted, self.speed, self.decay, self.low, self.high = distortion, speed, decay, low, high
        self.register_buffer("now", torch.tensor(1.0))
        self.register_buffer("average", torch.tensor(float("nan")))
        self.now: Tensor
        self.average: Tensor

    def beta(self, step: Tensor | int) -> Tensor:
        """1 / lambda."""
        return self.now.clone()

    def after_step(self, loss: Loss) -> None:
        """Update lambda from the moving average of the constraint."""
        excess = (loss.distortion.detach() - self.wanted) / self.wanted
        self.average.copy_(
            torch.where(self.average.isnan(), excess, self.average.lerp(excess, 1 - self.decay))
        )
        self.now.copy_((self.now * torch.exp(-self.speed * self.average)).clamp(self.low, self.high))
