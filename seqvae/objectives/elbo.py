"""The evidence lower bound."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from seqvae.interfaces import Batch, Remedy
from seqvae.interfaces.outputs import Loss
from seqvae.models.vae import VAE
from seqvae.objectives.base import Objective, check_single_kl_transform


class ELBO(Objective):
    """-E_q log p(x|z) + beta KL(q(z|x) || p(z)), mean over sentences, with remedies at their seams.

    `ELBO([])` is the plain negative ELBO in nats a sentence (Kingma & Welling 2014, eq. 3).

    Raises:
        UserError: two remedies that each reshape the whole KL.
    """

    paper = "Kingma & Welling, Auto-Encoding Variational Bayes"
    year = 2014

    def __init__(self, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__(remedies)
        check_single_kl_transform(self.remedy_list)

    def forward(self, vae: VAE, batch: Batch, step: Tensor | int) -> Loss:
        """The loss of one batch at update `step`."""
        batch = self._apply_input_hooks(batch)
        q = vae.posterior(batch)
        out = self._decode(vae, batch, q, q.rsample(1, batch.random))
        shaped = self._transformed_kl(out, step).sum(-1).mean()
        beta = self.beta(step)
        return self._loss(out.distortion.mean() + beta * shaped, beta, vae, out, batch)
