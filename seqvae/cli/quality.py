"""`seqvae quality`: metrics of a text run's prior samples, compared with real sentences."""

from __future__ import annotations

from typing import Annotated

import typer

from seqvae.cli.options import CONDITION, DEVICE, JSON, PRIOR, RATE, RUN, SEED, load_vae, require_text
from seqvae.cli.printing import emit_json, emit_lines, format_value
from seqvae.utils.tables import align_columns


def quality(
    run: RUN,
    scorer: Annotated[str, typer.Option("--with", help="A language model of the corpus: its run.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many samples.", min=2)] = 5000,
    seed: SEED = 0,
    rate: RATE = None,
    prior: PRIOR = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Measure samples and real sentences: forward and reverse perplexity, repetition, copies.

    A conditional run gets the labels of random training examples, or those of --condition.
    """
    from seqvae.analysis.sample_quality import real_quality, sample_quality

    vae, judge = load_vae(run, device, rate, prior, condition), load_vae(scorer, device)
    for each in (vae, judge):
        require_text(each, "`quality` reads sentences")
    drawn, real = sample_quality(vae, judge, n, seed), real_quality(vae, judge, n, seed)
    rows = [(key, format_value(value), format_value(real[key])) for key, value in drawn.items()]
    if json:
        emit_json({"samples": drawn, "real": real})
    else:
        emit_lines(align_columns(("measure", "samples", "real sentences"), rows))


COMMANDS = (quality,)
