"""Comparison of two priors of the same model, in nats on the same codes.

Shapes: S samples, P priors, B examples, N of them in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqvae.evaluation.metrics.chunks import few_samples
from seqvae.evaluation.metrics.evaluation_pass import (
    ProgressCallback,
    detached_float64,
    device_of,
    evaluation_mode,
)
from seqvae.evaluation.metrics.latent_usage import standard_error
from seqvae.evaluation.metrics.likelihood import draws, iw_nll
from seqvae.interfaces import Batch, Prior
from seqvae.models.vae import VAE


def compare_priors(
    vae: VAE,
    prior: Prior,
    batches: Sequence[Batch],
    samples: int = 20,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Compare a model's own prior with another one, on the same data and codes.

    Args:
        vae: the model.
        prior: the other prior.
        batches: evaluation examples.
        samples: K of IW-NLL.
        progress: called as (examples done, N, what).

    Returns:
        `n`; `trained` and `fitted` with `rate`, `neg_elbo` and `iw_nll` in nats per example under the model's
        own prior and under `prior`; `neg_elbo_gain` and `iw_nll_gain`, positive if `prior` is better, with
        standard errors. `trained` and `fitted` are None if q(z|x) has no density (a plain autoencoder).
    """
    if not vae.latent.has_density:
        return {"n": sum(batch.size for batch in batches), "trained": None, "fitted": None}
    parts, done, device = [], 0, device_of(vae)
    priors, chunk = (vae.prior, prior.to(device).eval()), few_samples(device)
    with evaluation_mode(vae):
        for batch in batches:
            parts.append(_score_priors(vae, priors, batch.to(device), samples, chunk(batch)))
            done += batch.size
            if progress is not None:
                progress(done, sum(b.size for b in batches), "both priors")
    both = torch.cat(parts, -1).cpu()  # (2 priors, 3 numbers, N)
    names = ("rate", "neg_elbo", "iw_nll")
    means = [dict(zip(names, row.mean(-1).tolist(), strict=True)) for row in both]
    gains: dict[str, Any] = {"n": both.shape[-1], "trained": means[0], "fitted": means[1]}
    for place, name in ((1, "neg_elbo"), (2, "iw_nll")):
        gain = both[0, place] - both[1, place]
        gains |= {f"{name}_gain": float(gain.mean()), f"{name}_gain_se": standard_error(gain)}
    return gains


def _score_priors(vae: VAE, priors: Sequence[Prior], batch: Batch, samples: int, chunk: int) -> Tensor:
    """Rate, -ELBO and IW-NLL (P priors, 3, B) of one batch, in fp64."""
    q = vae.posterior(batch)
    c = vae.condition(batch)
    ps = [prior(c) for prior in priors]
    rates, weights, distortion = [], [], []
    for z, log_q in draws(q, batch.random, samples, chunk):
        log_px_z = vae.likelihood(z, c).log_prob(batch)  # (S, B)
        share = len(z) / samples
        rates.append(
            torch.stack([detached_float64(vae.latent.kl(q, p, z).sum(-1).mean(0)) * share for p in ps])
        )
        weights.append(torch.stack([detached_float64(log_px_z + p.log_prob(z) - log_q) for p in ps]))
        distortion.append(-detached_float64(log_px_z).mean(0) * share)
    rate = torch.stack(rates).sum(0)  # (P, B)
    bound = torch.stack([iw_nll(w) for w in torch.cat(weights, 1)])
    return torch.stack([rate, rate + torch.stack(distortion).sum(0), bound], 1)
