"""`seqvae quality`: metrics of a text run's prior samples, compared with real sentences."""

from __future__ import annotations

from typing import Annotated

import typer

from seqvae.cli.options import CONDITION, DEVICE, JSON, PRIOR, RATE, RUN, SEED, load_vae, require_text
from seqvae.cli.printing import emit_json, emit_lines, format_value
from seqvae.utils.tables import align_columns


def quality(
    run: RUN,
    scorer: Annotated[
        str | None, typer.Option("--with", help="A language model of the corpus, its run: perplexities too.")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", "--number", help="How many samples.", min=2)] = None,
    as_sampled: Annotated[
        bool, typer.Option("--as-sampled", help="Repetition of sentences as `sample` writes them.")
    ] = False,
    seed: SEED = 0,
    rate: RATE = None,
    prior: PRIOR = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Measure samples and real sentences: forward and reverse perplexity, repetition, copies.

    Samples are untruncated draws. A conditional run gets the labels of random training examples, or those of
    --condition.
    """
    from seqvae.analysis.sample_quality import measure_samples

    vae = load_vae(run, device, rate, prior, condition)
    judge = None if scorer is None else load_vae(scorer, device)
    for each in (vae, *([] if judge is None else [judge])):
        require_text(each, "`quality` reads sentences")
    found = measure_samples(vae, judge, n, seed, as_sampled)
    real = found["real"]
    rows = [(key, format_value(v), format_value(real[key])) for key, v in found["samples"].items()]
    if json:
        emit_json(found)
    else:
        emit_lines(align_columns(("measure", "samples", "real sentences"), rows))


COMMANDS = (quality,)
