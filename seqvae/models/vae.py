"""The VAE: an encoder, a latent, a prior and a decoder, walked in that order.

Shapes: S samples, B examples, H features, D latent dims, C conditions.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from seqvae.interfaces import Batch, Decoder, Encoder, Latent, Likelihood, Posterior, Prior
from seqvae.interfaces.outputs import VAEOutput
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.labels import Classifier, LabelEncoder

PARTS = ("encoder", "latent", "prior", "decoder")


class VAE(nn.Module):
    """p(x, z) = p(z) p(x|z) with an amortised q(z|x) (Kingma & Welling 2014; Rezende et al. 2014).

    With `labels` it is p(x, z|c) = p(z|c) p(x|z, c) and q(z|x, c), c their features (Sohn et al. 2015, where
    the condition is called x and what is modelled y); a `classifier` guesses the one that may be missing.
    """

    def __init__(
        self,
        encoder: Encoder,
        latent: Latent,
        prior: Prior,
        decoder: Decoder,
        labels: LabelEncoder | None = None,
        classifier: Classifier | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.latent, self.prior, self.decoder = encoder, latent, prior, decoder
        self.labels, self.classifier = labels, classifier

    def replace(self, **parts: Any) -> Self:
        """The same model with other parts; it shares the rest."""
        kept = {name: getattr(self, name) for name in (*PARTS, "labels", "classifier")}
        made = type(self)(**kept | parts)
        made.training = self.training  # its parts keep the mode that each of them has
        return made

    def posterior(self, batch: Batch, h: Tensor | None = None) -> Posterior:
        """q(z|x) of a batch; with features `h` (B, H) given the encoder is not run again.

        The latent runs in fp32 whatever the precision of the encoder. It reads the labels behind the
        features, and as its condition what is its own.
        """
        h = self.encoder(batch) if h is None else h
        c = self.condition(batch)
        with torch.autocast(h.device.type, enabled=False):
            h = h.float()
            if self.labels is not None and c is not None:
                h = torch.cat([h, c[:, : self.labels.dim]], -1)
                c = c[:, self.labels.dim :] if self.latent.condition else None
            return self.latent.posterior(h, c)

    def condition(self, batch: Batch) -> Tensor | None:
        """C (B, C): what posterior, prior and decoder are told besides x; none for a plain VAE.

        The labels' features, then what the batch asks of the latent, else what that draws in training and
        takes by default at use.

        Raises:
            UserError: at use, a label that is missing and that nobody guesses, or a class that is not known.
        """
        if self.labels is None or self.labels.fixed:
            return self.default_condition(batch.random, batch.condition)
        labels = batch.labels
        if self.classifier is not None and not self.training:
            labels = self.classifier.impute(batch)
        features = self.labels.features(labels, strict=not self.training)
        return self._concat(features, batch.condition, batch.random)

    def default_condition(
        self, random: KeyedNoise, rate: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor | None:
        """C (B, C) for codes that no example stands behind.

        Of `labels` (B, L), or of those that somebody chose for all; then `rate`, what is asked of the latent,
        or else what that draws in training and takes by default at use.

        Raises:
            UserError: the model is told labels and nobody gives any.
        """
        if self.labels is None:
            return self._concat(None, rate, random)
        if labels is not None:
            return self._concat(self.labels.features(labels), rate, random)
        chosen = self.labels.fixed_features(len(random.index), random.index.device)
        return self._concat(chosen, rate, random)

    def _concat(self, labels: Tensor | None, rate: Tensor | None, random: KeyedNoise) -> Tensor | None:
        c = self.latent.default_condition(random) if rate is None else rate
        if labels is None or c is None:
            return c if labels is None else labels
        return torch.cat([labels, c.to(labels)], -1)

    def likelihood(self, z: Tensor, c: Tensor | None = None) -> Likelihood:
        """p(x|z) for codes (S, B, D), under the model's default condition where none is given."""
        if c is None:
            c = self.default_condition(KeyedNoise(0, 0, torch.arange(z.shape[1], device=z.device)))
        return self.decoder(*self.latent.decoder_inputs(z, c))  # type: ignore[no-any-return]

    def forward(self, batch: Batch, samples: int = 1, q: Posterior | None = None) -> VAEOutput:
        """One walk; with `q` given the encoder is not run again."""
        q = self.posterior(batch) if q is None else q
        return self.decode_from(batch, q, q.rsample(samples, batch.random))

    def decode_from(self, batch: Batch, q: Posterior, z: Tensor, read: Tensor | None = None) -> VAEOutput:
        """The walk from codes (S, B, D) on that were drawn from q already; the decoder may `read` others."""
        c = self.condition(batch)
        p = self.prior(c)
        likelihood = self.likelihood(z if read is None else read, c)
        return VAEOutput(q, p, z, self.latent.kl(q, p, z), likelihood, likelihood.log_prob(batch))
