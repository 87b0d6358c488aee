"""The VAE module: encoder, latent, prior and decoder, with optional labels and classifier.

Shapes: S samples, B examples, H features, D latent dims, C conditions.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from seqvae.interfaces import Batch, Decoder, Encoder, Latent, Likelihood, Posterior, Prior, PriorDistribution
from seqvae.interfaces.outputs import VAEOutput
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.labels import Classifier, LabelEncoder

PARTS = ("encoder", "latent", "prior", "decoder")


class VAE(nn.Module):
    """p(x, z) = p(z) p(x|z) with an amortised q(z|x) (Kingma & Welling 2014; Rezende et al. 2014).

    With `labels` it is the conditional VAE p(x, z|c) = p(z|c) p(x|z, c) with q(z|x, c), c the label features
    (Sohn et al. 2015, who call the condition x and the modelled variable y).

    Args:
        encoder: maps a batch to features h (B, H).
        latent: maps h to q(z|x); its input size is H plus the label features.
        prior: p(z) or p(z|c).
        decoder: maps codes z (S, B, D) to p(x|z).
        labels: encodes the labels that the model is conditioned on.
        classifier: q(y|x), which infers the label that may be missing.

    Example:
        >>> from seqvae.data.text.batch import SpecialIds
        >>> from seqvae.data.text.batching import batch_from_ids
        >>> from seqvae.models.latents import Gaussian
        >>> from seqvae.models.priors import StandardPrior
        >>> from seqvae.models.text import DECODERS, ENCODERS
        >>> special = SpecialIds(pad=0, unk=1, bos=2, eos=3)
        >>> encoder = ENCODERS["gru"](vocab_size=7, embed=8, hidden=16)
        >>> decoder = DECODERS["gru"](vocab_size=7, special=special, latent_dim=2, embed=8, hidden=16)
        >>> vae = VAE(encoder, Gaussian(encoder.out_dim, dim=2), StandardPrior(2), decoder)
        >>> out = vae(batch_from_ids([[4, 5], [6]], special), samples=3)
        >>> out.z.shape, out.log_px_z.shape, out.rate.shape  # (S, B, D), (S, B), (B,)
        (torch.Size([3, 2, 2]), torch.Size([3, 2]), torch.Size([2]))
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
        """A model with some parts replaced; it shares the others."""
        kept = {name: getattr(self, name) for name in (*PARTS, "labels", "classifier")}
        made = type(self)(**kept | parts)
        made.training = self.training  # not by train(), which would reset the modes of the parts
        return made

    def posterior(self, batch: Batch, h: Tensor | None = None) -> Posterior:
        """q(z|x) of a batch.

        Args:
            batch: B examples.
            h: features (B, H) of the encoder, if they are computed already.
        """
        h = self.encoder(batch) if h is None else h
        c = self.condition(batch)
        with torch.autocast(h.device.type, enabled=False):  # KL and densities need fp32
            h = h.float()
            if self.labels is not None and c is not None:
                h = torch.cat([h, c[:, : self.labels.dim]], -1)
                c = c[:, self.labels.dim :] if self.latent.condition else None
            return self.latent.posterior(h, c)

    def condition(self, batch: Batch) -> Tensor | None:
        """C (B, C): the condition of posterior, prior and decoder; None for an unconditional VAE.

        The label features, followed by the condition features of the latent: those of the batch where it has
        any, else sampled in training and the default at evaluation.

        Raises:
            UserError: at evaluation, a label is missing and not inferred, or a class is unknown.
        """
        if self.labels is None or self.labels.fixed:
            return self.default_condition(batch.random, batch.condition)
        labels = batch.labels
        if self.classifier is not None and not self.training:
            labels = self.classifier.impute(batch)
        features = self.labels.features(labels, strict=not self.training)
        return self._concat_condition(features, batch.condition, batch.random)

    def default_condition(
        self, random: KeyedNoise, rate: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor | None:
        """C (B, C) for codes without an example, such as samples from the prior.

        Args:
            random: noise of the B codes.
            rate: condition features (B, C) of the latent; by default sampled in training and the default at
                evaluation.
            labels: label values (B, L); by default the fixed ones of the model.

        Raises:
            UserError: the model is conditioned on labels and none are given or fixed.
        """
        if self.labels is None:
            return self._concat_condition(None, rate, random)
        if labels is not None:
            return self._concat_condition(self.labels.features(labels), rate, random)
        fixed = self.labels.fixed_features(len(random.index), random.index.device)
        return self._concat_condition(fixed, rate, random)

    def _concat_condition(
        self, labels: Tensor | None, rate: Tensor | None, random: KeyedNoise
    ) -> Tensor | None:
        c = self.latent.default_condition(random) if rate is None else rate
        if labels is None or c is None:
            return c if labels is None else labels
        return torch.cat([labels, c.to(labels)], -1)

    def likelihood(self, z: Tensor, c: Tensor | None = None) -> Likelihood:
        """p(x|z) for codes (S, B, D), conditioned on c (B, C), by default the default condition."""
        if c is None:
            c = self.default_condition(KeyedNoise(0, 0, torch.arange(z.shape[1], device=z.device)))
        return self.decoder(*self.latent.decoder_inputs(z, c))  # type: ignore[no-any-return]

    def forward(self, batch: Batch, samples: int = 1, q: Posterior | None = None) -> VAEOutput:
        """Forward pass: encode, sample z, decode.

        Args:
            batch: B examples.
            samples: S, the number of samples of z per example.
            q: posterior of the batch, if it is computed already.

        Returns:
            Distributions, samples (S, B, D), KL and log p(x|z) (S, B) in nats.
        """
        q = self.posterior(batch) if q is None else q
        return self.decode_from(batch, q, q.rsample(samples, batch.random))

    def decode_from(self, batch: Batch, q: Posterior, z: Tensor, read: Tensor | None = None) -> VAEOutput:
        """Forward pass from given samples of q on.

        Args:
            batch: B examples.
            q: their posterior.
            z: samples (S, B, D) from q, of which KL and densities are computed.
            read: codes (S, B, D) that the decoder reads in place of z, as remedies change them.
        """
        c = self.condition(batch)
        return self.decode_given(batch, q, self.prior(c), c, z, read)

    def decode_given(
        self,
        batch: Batch,
        q: Posterior,
        p: PriorDistribution,
        c: Tensor | None,
        z: Tensor,
        read: Tensor | None = None,
    ) -> VAEOutput:
        """`decode_from` under a prior p(z|c) and a condition c (B, C) that several calls share."""
        likelihood = self.likelihood(z if read is None else read, c)
        return VAEOutput(q, p, z, self.latent.kl(q, p, z), likelihood, likelihood.log_prob(batch))
