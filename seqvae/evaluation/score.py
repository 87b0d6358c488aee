"""Scores per example: the likelihoods that `evaluate` averages.

Shapes: N examples, K importance samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from seqvae.evaluation.evaluate import require_samples
from seqvae.evaluation.metrics.chunks import cells_at_once, samples_at_once
from seqvae.evaluation.metrics.evaluation_pass import (
    EvaluationPass,
    ProgressCallback,
    device_of,
    evaluation_mode,
    run_evaluation_pass,
)
from seqvae.interfaces import Batch
from seqvae.models.vae import VAE


@dataclass(frozen=True)
class ExampleScore:
    """Likelihoods of one example in nats; None if q(z|x) has no density.

    `iw_nll` is an upper bound of -ln p(x) that tightens with the number of samples; exact for a language
    model. `neg_elbo` = `rate` + `distortion`. `units` is the number of predicted tokens including `</s>`; 1
    for an image. `unknown` is the number of out-of-vocabulary tokens, which are scored as the unknown token;
    None for an image.
    """

    iw_nll: float | None
    neg_elbo: float | None
    rate: float | None
    distortion: float
    units: int
    unknown: int | None = None


def score_examples(
    vae: VAE, batches: Sequence[Batch], samples: int = 20, progress: ProgressCallback | None = None
) -> list[ExampleScore]:
    """Scores of N examples, in order, from K = `samples` codes each. A collective: call it on every rank.

    The noise is keyed by content: batch size, position and the other examples affect a score only by
    rounding, and equal examples have equal scores.

    Raises:
        UserError: `samples` is below 1.
    """
    require_samples(samples)
    if not batches:
        return []
    cells = cells_at_once(device_of(vae))
    with evaluation_mode(vae):
        evaluation = EvaluationPass(vae, batches, progress, together=True)
        found = run_evaluation_pass(evaluation, samples, lambda batch: samples_at_once(batch, cells))
    distortion: list[float] = found["distortion"].tolist()
    units = [int(count) for count in chain.from_iterable(batch.target_counts.tolist() for batch in batches)]
    if "iw_nll" not in found:
        return [ExampleScore(None, None, None, d, u) for d, u in zip(distortion, units, strict=True)]
    rate: list[float] = found["kl"].sum(-1).tolist()
    rows = zip(found["iw_nll"].tolist(), rate, distortion, units, strict=True)
    return [ExampleScore(iw, r + d, r, d, u) for iw, r, d, u in rows]
