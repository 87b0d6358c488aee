"""Another default rate for a finished run: chosen on its validation data, written into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqvae.build import modality_of
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.evaluation.rate_sweep import EXAMPLES, SAMPLES, find_best_rate, trained_range
from seqvae.inference.posthoc_priors import adopt_posthoc_priors
from seqvae.models.sampling import with_rate
from seqvae.runs.checkpoint import Run, update_card
from seqvae.runs.run_data import load_run_data
from seqvae.runs.weights import WEIGHTS, save_weights
from seqvae.utils.atomic_files import sha256_of


def choose_rate(
    run: Run,
    rates: Sequence[float] | None = None,
    examples: int = EXAMPLES,
    samples: int = SAMPLES,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Give a finished run another default rate, the best by IW-NLL on its validation data; what was found.

    It is written into the run's weights and card, as training does at its end; priors that were fitted to
    the run stay with it.

    Raises:
        UserError: a run without a dial, or a rate that it was not trained for.
    """
    trained_range(run.vae.latent)
    modality = modality_of(run.config)
    feed = modality.make_batch_source(load_run_data(run, "valid"), 64, 1, 0)
    chosen = find_best_rate(run.vae, feed.valid(examples), rates, samples, progress)
    before = sha256_of(run.path / WEIGHTS)
    save_weights(run.path, with_rate(run.vae, chosen["nats"]))
    adopt_posthoc_priors(run.path, before)
    update_card(run.path, rate=chosen)
    return chosen
