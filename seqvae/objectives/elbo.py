"""The negative evidence lower bound (ELBO), with remedies."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from seqvae.interfaces import Batch, Remedy
from seqvae.interfaces.outputs import Loss
from seqvae.models.vae import VAE
from seqvae.objectives.base import Objective, check_single_kl_transform


class ELBO(Objective):
    """-E_q log p(x|z) + beta KL(q(z|x) || p(z)) in nats, averaged over examples, one sample of z each.

    `ELBO()` is the plain negative ELBO (Kingma & Welling 2014, eq. 3). Remedies set beta, transform the KL,
    change the inputs and add losses.

    Args:
        remedies: applied in this order.

    Raises:
        UserError: two remedies each transform the whole KL.

    Example:
        >>> from seqvae.data.text.batch import SpecialIds
        >>> from seqvae.data.text.batching import batch_from_ids
        >>> from seqvae.models.latents import Gaussian
        >>> from seqvae.models.priors import StandardPrior
        >>> from seqvae.models.text import DECODERS, ENCODERS
        >>> from seqvae.remedies.schedules import LinearAnnealing
        >>> special = SpecialIds(pad=0, unk=1, bos=2, eos=3)
        >>> encoder = ENCODERS["gru"](vocab_size=7, embed=8, hidden=16)
        >>> decoder = DECODERS["gru"](vocab_size=7, special=special, latent_dim=2, embed=8, hidden=16)
        >>> vae = VAE(encoder, Gaussian(encoder.out_dim, dim=2), StandardPrior(2), decoder)
        >>> objective = ELBO([LinearAnnealing(steps=100)])
        >>> loss = objective(vae, batch_from_ids([[4, 5], [6]], special), step=50)
        >>> loss.beta.item(), loss.kl_per_dim.shape
        (0.5, torch.Size([2]))
        >>> bool((loss.total - (loss.distortion + 0.5 * loss.rate)).abs() < 1e-5)
        True
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
        kl = self._transformed_kl(out, step).sum(-1).mean()
        beta = self.beta(step)
        return self._loss(out.distortion.mean() + beta * kl, beta, vae, out, batch)
