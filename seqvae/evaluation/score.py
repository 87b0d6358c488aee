"""How likely each example is: what `evaluate` averages, one row an example.

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
    """Nats of one example; None where q(z|x) has no density.

    `iw_nll` bounds -ln p(x) from above, the tighter the more samples; of a language model it is exact.
    `neg_elbo` = `rate` + `distortion`. `units` are the predicted tokens, `</s>` counted; 1 for a picture.
    `unknown` of them are outside the vocabulary, each of which costs what the unknown token costs, whatever
    the word; None for a picture.
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
    """A row for each of the N examples, in their order, from K = `samples` codes each.

    The noise is keyed by content: neither batch size, place nor company changes a score but by rounding, and
    the same example twice has the same score.
    Where several processes work together all of them must ask, and each scores its share.

    Raises:
        UserError: no sample.
    """
    require_samples(samples)
    if not batches:
        return []
    cells = cells_at_once(device_of(vae))
    with evaluation_mode(vae):
        walk = EvaluationPass(vae, batches, progress, together=True)
        found = run_evaluation_pass(walk, samples, lambda batch: samples_at_once(batch, cells))
    distortion: list[float] = found["distortion"].tolist()
    units = [int(count) for count in chain.from_iterable(batch.target_counts.tolist() for batch in batches)]
    if "iw_nll" not in found:
        return [ExampleScore(None, None, None, d, u) for d, u in zip(distortion, units, strict=True)]
    rate: list[float] = found["kl"].sum(-1).tolist()
    rows = zip(found["iw_nll"].tolist(), rate, distortion, units, strict=True)
    return [ExampleScore(iw, r + d, r, d, u) for iw, r, d, u in rows]
