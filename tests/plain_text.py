"""A plain GRU VAE with the weights of the package's: the reference of time and memory.

Shapes: B sentences, T tokens, H features, V words, D latent dims.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from seqvae.data.text.batch import TextBatch
from seqvae.interfaces import Posterior
from seqvae.models.text.recurrent import GRUDecoder, GRUEncoder
from seqvae.models.vae import VAE


def posterior(vae: VAE, batch: TextBatch) -> Posterior:
    """q(z|x) from the state after the last word."""
    encoder = cast(GRUEncoder, vae.encoder)
    states, _ = encoder.rnn(encoder.embedding(batch.source))  # (B, T, H)
    last = states[torch.arange(batch.size), batch.source_lengths - 1]
    return vae.latent.posterior(last.float())


def log_px(vae: VAE, batch: TextBatch, z: Tensor) -> Tensor:
    """Log p(x|z) (B,) for codes (B, D), from all logits at once."""
    decoder = cast(GRUDecoder, vae.decoder)
    assert decoder.first is not None
    states, _ = decoder.rnn(decoder.embedding(batch.inputs), torch.tanh(decoder.first(z))[None])
    logits = functional.linear(states, decoder.head.weight, decoder.head.bias + decoder.head.forbidden)
    pad = batch.special.pad
    nll = functional.cross_entropy(logits.mT, batch.targets, ignore_index=pad, reduction="none")
    return -nll.sum(1)


def loss(vae: VAE, batch: TextBatch) -> Tensor:
    """-ELBO in nats, the mean over examples."""
    q = posterior(vae, batch)
    z = q.rsample(1, batch.random)
    kl = vae.latent.kl(q, vae.prior(None), z)[0].sum(1)
    return (kl - log_px(vae, batch, z[0])).mean()


@torch.no_grad()
def iw_loop(vae: VAE, batch: TextBatch, samples: int) -> Tensor:
    """Log w (K, B), a sample after the other, each with its own run of the encoder."""
    rows = []
    for k in range(samples):
        q, p = posterior(vae, batch), vae.prior(None)
        z = q.rsample(1, batch.random.fold(k))
        rows.append(log_px(vae, batch, z[0]) + p.log_prob(z)[0] - q.log_prob(z)[0])
    return torch.stack(rows)


def update(module: Callable[[], Tensor], optimizer: Any) -> Callable[[], None]:
    """One update of a loss, as anybody writes it."""

    def run() -> None:
        module().backward()
        optimizer.step()
        optimizer.zero_grad()

    return run
