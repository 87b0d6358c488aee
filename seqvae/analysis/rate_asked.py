"""The rate in nats that a corpus asks its code for, as a line at the end of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqvae.analysis.minimum_rate import ReconstructionTarget, minimum_rates
from seqvae.data.text.information import CODE_SHARE, LEAST, code_nats
from seqvae.evaluation.rate_sweep import is_variable_rate, trained_range
from seqvae.inference import PretrainedVAE, TextVAE
from seqvae.inference.inputs import load_inputs
from seqvae.runs.metrics_log import read_metrics

EXAMPLES, ROUNDS = 50, 4  # validation sentences, and bisections for each
RIGHT = 0.9  # share of the tokens that a reconstruction must have right
FAR = 1.5  # factor between two sizes of a code that is worth saying


def describe_rate_asked(vae: PretrainedVAE) -> str | None:
    """The rate that the validation sentences of a run ask for, beside its own; None without a code of text.

    With a range of rates: the rate at which half of 50 sentences are reconstructed (90 % of their tokens,
    from the posterior mean), found by bisection. With one rate: a sixth of the nats that a text holds by the
    model's own -ELBO, which is what the recipe free-bits aims at. None too for a range of rates over given
    vectors, where no sentence can be encoded.

    Raises:
        UserError: the data have changed.
    """
    if not isinstance(vae, TextVAE):
        return None
    if is_variable_rate(vae.vae.latent):
        return None if vae.reads_vectors else _measure_rate(vae)
    validations = [row for row in read_metrics(vae.run.path) if row["kind"] == "valid"]
    return describe_code(validations[-1], vae.vae.latent.dim) if validations else None


def describe_code(validation: Mapping[str, Any], dim: int) -> str | None:
    """The size of a code of `dim` dims beside the one that texts of such a -ELBO ask for; None without."""
    nats, rate = validation.get("neg_elbo"), validation.get("rate")
    if nats is None or not rate or not dim:
        return None
    wanted = code_nats(nats)
    line = (
        f"the corpus asks for a code of about {wanted:.2g} nats (1/{1 / CODE_SHARE:.0f} of the {nats:.3g} "
        f"that a text holds by -ELBO, at least {LEAST:g}); this one carries {rate:.2g}"
    )
    if max(wanted / rate, rate / wanted) < FAR:
        return line
    return (
        f"{line}: the remedy free_bits {{nats: {wanted / dim:.2g}}} or latent={{name: exact_rate, nats: "
        f"{wanted:.2g}}} makes it that large, nats: [2, {max(8, round(nats))}] gives all sizes"
    )


def _measure_rate(vae: TextVAE) -> str:
    inputs = load_inputs(vae, "valid", EXAMPLES)
    found = minimum_rates(vae, inputs, ReconstructionTarget(RIGHT, rounds=ROUNDS))
    _, high = trained_range(vae.vae.latent)
    needs = np.array([math.inf if need.nats is None else need.nats for need in found])
    half, most = (float(np.quantile(needs, q, method="inverted_cdf")) for q in (0.5, 0.9))
    own = float(vae.vae.latent.rate)  # type: ignore[arg-type]
    return (
        f"the corpus asks for {_format_rate(half, high)} nats: half of {len(found)} validation sentences are "
        f"reconstructed there ({RIGHT:.0%} of their tokens), nine tenths at {_format_rate(most, high)}; the "
        f"default rate of this run is {own:.3g}, --rate asks for another"
    )


def _format_rate(nats: float, high: float) -> str:
    return f"over {high:g}" if math.isinf(nats) else f"{nats:.2g}"
