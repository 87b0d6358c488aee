"""Another default rate for a finished run: chosen on its validation data, written into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqvae.build import wing_of
from seqvae.checkpoint import Run, add_to_card
from seqvae.disk import digest
from seqvae.fitted import keep_fitted
from seqvae.generate import with_rate
from seqvae.metrics.gather import Progress
from seqvae.rates import EXAMPLES, SAMPLES, best_rate, trained_range
from seqvae.run_data import load_run_data
from seqvae.weights import WEIGHTS, save_weights


def choose_rate(
    run: Run,
    rates: Sequence[float] | None = None,
    examples: int = EXAMPLES,
    samples: int = SAMPLES,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Give a finished run another default rate, the best by IW-NLL on its validation data; what was found.

    It is written into the run's weights and card, as training does at its end; priors that were fitted to
    the run stay with it.

    Raises:
        UserError: a run without a dial, or a rate that it was not trained for.
    """
    trained_range(run.vae.latent)
    wing = wing_of(run.config)
    feed = wing.make_feed(load_run_data(run, "valid"), 64, 1, 0)
    chosen = best_rate(run.vae, feed.valid(examples), rates, samples, progress)
    before = digest(run.path / WEIGHTS)
    save_weights(run.path, with_rate(run.vae, chosen["nats"]))
    keep_fitted(run.path, before)
    add_to_card(run.path, rate=chosen)
    return chosen
