"""The importance-weighted bound (IWAE), with the standard or the doubly reparameterised gradient.

Shapes: K samples, B examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from seqvae.errors import UserError
from seqvae.interfaces import Batch, Remedy, RunContext
from seqvae.interfaces.outputs import Loss
from seqvae.models.vae import VAE
from seqvae.numerics import log_mean_exp
from seqvae.objectives.base import Objective


def doubly_reparameterised(log_weights: Tensor, z: Tensor) -> Tensor:
    """Sum_k v_k log w_k (B,), v = softmax_k(log w), with the DReG gradient of the bound (Tucker et al. 2019).

    Gradients that reach z are multiplied by v_k once more, so that the encoder gets
    sum_k v_k^2 d log w_k / dz_k dz_k / d phi, and decoder and prior get sum_k v_k d log w_k / d theta.

    Args:
        log_weights: log w (K, B) in nats. They must depend on the encoder through `z` alone: compute
            log q(z|x) with the parameters of q detached.
        z: samples (K, B, D).

    Returns:
        The weighted sum (B,); its value is not the bound, only its gradient is that of the bound.
    """
    share = torch.softmax(log_weights.detach(), 0)  # (K, B)
    if z.requires_grad:
        # only the encoder's gradient passes through z: decoder and prior keep theirs
        z.register_hook(lambda gradient: gradient * share[..., None])  # type: ignore[no-untyped-call]
    return (share * log_weights).sum(0)


class IWAE(Objective):
    """-E log (1/K) sum_k w_k in nats, w = p(x|z) p(z) / q(z|x): a bound of -log p(x) that tightens with K.

    There is no KL term that a remedy could weight or transform.

    Args:
        remedies: applied in this order.
        samples: K, the number of samples of z per example.
        estimator: `standard` is the gradient of Burda et al.; `dreg` is the doubly reparameterised one
            (Tucker et al. 2019), with the same mean and a signal-to-noise ratio that does not vanish with
            growing K.

    Raises:
        UserError: a remedy acts on the KL.

    Example:
        >>> IWAE(samples=16, estimator="dreg").samples
        16
        >>> from seqvae.remedies.schedules import ConstantBeta
        >>> IWAE([ConstantBeta(0.5)])
        Traceback (most recent call last):
        ...
        seqvae.errors.UserError: it has no KL for ConstantBeta to act on: leave that out, or take elbo
    """

    paper = "Burda et al., Importance Weighted Autoencoders"
    year = 2016

    def __init__(
        self,
        remedies: Iterable[Remedy] = (),
        samples: Annotated[int, Field(gt=0)] = 8,
        estimator: Literal["standard", "dreg"] = "standard",
    ) -> None:
        super().__init__(remedies)
        self.samples, self.estimator = samples, estimator
        hooks = [(type(r), (type(r).transform_kl, type(r).beta)) for r in self.remedy_list]
        acting = [kind.__name__ for kind, own in hooks if own != (Remedy.transform_kl, Remedy.beta)]
        if acting:
            names = " and ".join(acting)
            raise UserError(f"it has no KL for {names} to act on: leave that out, or take elbo")

    def attach(self, vae: VAE, facts: RunContext | None = None) -> None:
        """Reject latents without a density or without reparameterised samples.

        Raises:
            UserError: the latent is one of them.
        """
        if not (vae.latent.has_density and vae.latent.reparameterized):
            raise UserError(
                "objective 'iwae' weighs codes by their density and follows its gradient, "
                f"{type(vae.latent).__name__} has none: take elbo, or another latent"
            )

    def forward(self, vae: VAE, batch: Batch, step: Tensor | int) -> Loss:
        """The loss of one batch at update `step`; the decoder processes all K samples at once."""
        batch = self._apply_input_hooks(batch)
        q = vae.posterior(batch)
        z = q.rsample(self.samples, batch.random)  # (K, B, D)
        path = z.view_as(z)  # a view: its gradient hook must not reach the auxiliary losses
        out = self._decode(vae, batch, q, path)
        bound = log_mean_exp(out.log_weights)  # (B,)
        if self.estimator == "dreg":
            fixed = replace(out, q=q.detach())
            surrogate = doubly_reparameterised(fixed.log_weights, path)
            bound = bound.detach() + (surrogate - surrogate.detach())  # value of one, gradient of the other
        return self._loss(-bound.mean(), 1.0, vae, replace(out, z=z), batch)
