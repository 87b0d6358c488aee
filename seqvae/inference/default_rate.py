"""Choice of a new default rate for a finished variable-rate run, on its validation data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqvae.build import modality_of
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.evaluation.rate_sweep import EXAMPLES, SAMPLES, find_best_rate, trained_range
from seqvae.inference.posthoc_priors import adopt_posthoc_priors
from seqvae.models.sampling import with_rate
from seqvae.runs.run_data import load_run_data
from seqvae.runs.run_folder import Run, update_card
from seqvae.runs.weights import WEIGHTS, save_weights
from seqvae.utils.atomic_files import sha256_of


def choose_rate(
    run: Run,
    rates: Sequence[float] | None = None,
    examples: int = EXAMPLES,
    samples: int = SAMPLES,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Set the default rate of a finished run as training does, by IW-NLL on its validation data.

    The rate is written into the run's weights and config.json, as at the end of training; priors that were
    fitted to the run stay valid.

    Args:
        run: a variable-rate run.
        rates: candidate rates in nats; the doublings within the trained range by default.
        examples: validation examples, at most.
        samples: K of the IW-NLL.
        progress: called as (done, total, what).

    Returns:
        The entry `rate` of config.json: the chosen `nats` and the measurements.

    Raises:
        UserError: not a variable-rate run, or a rate outside the trained range.
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
