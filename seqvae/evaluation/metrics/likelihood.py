"""The importance-weighted likelihood of examples, with its effective sample size.

Shapes: K importance samples, B examples of a batch, N evaluation examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.interfaces import Batch, Posterior
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.flow import FlowPosterior
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.models.vae import VAE
from seqvae.numerics import log_mean_exp

DRAWN = 100  # samples per call of rsample: fixed, since a size that follows the chunk would change the noise


def iw_nll(log_weights: Tensor) -> Tensor:
    """(N,): -log (1/K) sum_k w_k in nats, from log w (K, N); w = p(x|z) p(z) / q(z|x).

    An upper bound of -log p(x) in expectation, tighter as K grows (Burda et al. 2016, theorem 1).
    """
    return -log_mean_exp(log_weights, 0)


def grouped_nll(log_weights: Tensor, groups: int) -> Tensor:
    """(N,): `iw_nll` of each of `groups` groups of the K samples, averaged weighted by group size.

    On the same weights merging groups never increases it (Jensen), so K = 1, K/2 and K are comparable.
    """
    shares = log_weights.tensor_split(groups)
    return sum((iw_nll(share) * len(share) for share in shares), log_weights.new_zeros(())) / len(log_weights)


def effective_samples(log_weights: Tensor) -> Tensor:
    """(N,): ESS = (sum_k w_k)^2 / sum_k w_k^2, between 1 and K, from log w (K, N)."""
    return torch.exp(2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0))


@dataclass(frozen=True)
class ImportanceScores:
    """Scores of K samples per example of one batch."""

    q: Posterior
    z: Tensor  # (B, D), the first sample
    kl: Tensor  # (B, D) or (B, 1) nats, mean over samples
    log_px_z: Tensor  # (K, B) nats
    log_weights: Tensor | None  # (K, B) nats; None if q(z|x) has no density


def score_batch(vae: VAE, batch: Batch, samples: int, chunk: int) -> ImportanceScores:
    """Score K = `samples` codes per example, `chunk` at a time; the encoder runs once.

    The noise depends neither on the chunk nor on the batch size. Only the decoder's work is chunked; K x B
    weights are stored. There is no host sync between chunks.
    """
    q, c = vae.posterior(batch), vae.condition(batch)
    p = vae.prior(c)
    density = vae.latent.has_density and vae.latent.dim > 0
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    first = None
    for z, log_q in draws(q, batch.random, samples, chunk):
        out = vae.decode_given(batch, q, p, c, z)
        log_weights = out.log_px_z + p.log_prob(z) - log_q if density else out.log_px_z
        parts.append((out.kl.mean(0) * len(z), out.log_px_z, log_weights))
        first = z[0] if first is None else first
    assert first is not None
    kl, scores, weights = zip(*parts, strict=True)
    known = vae.latent.has_density or vae.latent.dim == 0
    return ImportanceScores(
        q, first, sum(kl) / samples, torch.cat(scores), torch.cat(weights) if known else None
    )


def sample_codes(q: Posterior, random: KeyedNoise, samples: int, chunk: int) -> Iterator[Tensor]:
    """Codes (at most `chunk`, B, D), `samples` in total, sampled `DRAWN` at a time for any chunk."""
    return (z for z, _ in draws(q, random, samples, chunk))


def draws(q: Posterior, random: KeyedNoise, samples: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The codes of `sample_codes` with log q(z|x) of each (at most `chunk`, B) in nats; 0 if q has no density."""  # noqa: E501
    for number, start in enumerate(range(0, samples, DRAWN)):
        drawn = _draw(q, min(DRAWN, samples - start), random.fold(number))  # (<= DRAWN, B, ...)
        yield from zip(*(torch.split(part, chunk) for part in drawn), strict=True)


def _draw(q: Posterior, n: int, random: KeyedNoise) -> tuple[Tensor, Tensor]:
    """Z (n, B, D) and log q(z|x) (n, B), from the noise if q supports it (exact), else from the rounded z."""
    if isinstance(q, DiagonalNormal | FlowPosterior):
        return q.rsample_with_log_prob(n, random)
    z = q.rsample(n, random)
    return z, q.log_prob(z)
