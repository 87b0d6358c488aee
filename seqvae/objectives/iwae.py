"""The importance-weighted bound, with either of its gradients.

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

    `log_weights` (K, B) must reach the encoder through `z` (K, B, D) alone: log q(z|x) is taken with the
    parameters of q held fixed. What reaches z is weighed by v_k once more, so that the encoder gets
    sum_k v_k^2 d log w_k / dz_k dz_k / d phi, and decoder and prior sum_k v_k d log w_k / d theta.
    """
    share = torch.softmax(log_weights.detach(), 0)  # (K, B)
    if z.requires_grad:
        z.register_hook(lambda gradient: gradient * share[..., None])  # type: ignore[no-untyped-call]
    return (share * log_weights).sum(0)


class IWAE(Objective):
    """-E log (1/K) sum_k w_k, w = p(x|z) p(z) / q(z|x): a bound of -log p(x) that tightens with K.

    `standard` is the gradient of Burda et al.; `dreg` is the doubly reparameterised one (Tucker et al. 2019),
    of the same mean and a signal that does not fade as K grows. There is no KL term to weigh or to reshape.

    Raises:
        UserError: a remedy that acts on the KL.
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
        seams = [(type(r), (type(r).transform_kl, type(r).beta)) for r in self.remedy_list]
        acting = [kind.__name__ for kind, own in seams if own != (Remedy.transform_kl, Remedy.beta)]
        if acting:
            names = " and ".join(acting)
            raise UserError(f"it has no KL for {names} to act on: leave that out, or take elbo")

    def attach(self, vae: VAE, facts: RunContext | None = None) -> None:
        """Refuse codes without a density, or with none that has a gradient.

        Raises:
            UserError: such a latent.
        """
        if not (vae.latent.has_density and vae.latent.reparameterized):
            raise UserError(
                "objective 'iwae' weighs codes by their density and follows its gradient, "
                f"{type(vae.latent).__name__} has none: take elbo, or another latent"
            )

    def forward(self, vae: VAE, batch: Batch, step: Tensor | int) -> Loss:
        """The loss of one batch; all K samples of an example pass the decoder at once."""
        batch = self._apply_input_hooks(batch)
        q = vae.posterior(batch)
        z = q.rsample(self.samples, batch.random)  # (K, B, D)
        path = z.view_as(z)  # the way of z into the bound, apart from that into further terms
        out = self._decode(vae, batch, q, path)
        bound = log_mean_exp(out.log_weights)  # (B,)
        if self.estimator == "dreg":
            fixed = replace(out, q=q.detach())
            pulled = doubly_reparameterised(fixed.log_weights, path)
            bound = bound.detach() + (pulled - pulled.detach())
        return self._loss(-bound.mean(), 1.0, vae, replace(out, z=z), batch)
