"""`seqvae infill`: missing words of a sentence."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from seqvae.cli.options import CONDITION, DEVICE, JSON, RATE, RUN, SEED, load_vae, require_text
from seqvae.cli.printing import emit_json, emit_lines, format_value
from seqvae.cli.terminal import Terminal
from seqvae.errors import UserError
from seqvae.utils.tables import align_columns

COLUMNS = ("method", "blanks", "words_right", "lm_nll", "adversarial_unigram", "adversarial_gru")


def infill(
    run: RUN,
    patterns: Annotated[
        list[str] | None, typer.Argument(help='As "the man ___ a guitar ___".', show_default=False)
    ] = None,
    beam: Annotated[int, typer.Option(help="Sentences kept per code.", min=1)] = 5,
    rounds: Annotated[int, typer.Option(help="How often codes and words are found anew.", min=1)] = 3,
    starts: Annotated[int, typer.Option(help="Codes per pattern to start from.", min=1)] = 4,
    refine: Annotated[int, typer.Option(help="SVI steps per round; 0 takes the encoder's code.", min=0)] = 10,
    samples: Annotated[int, typer.Option(help="Codes per NLL, which chooses.", min=1)] = 20,
    benchmark: Annotated[
        str | None, typer.Option(help="Measure on held-out sentences instead, beside this language model.")
    ] = None,
    examples: Annotated[int, typer.Option(help="Of the benchmark: sentences.", min=20)] = 500,
    seed: SEED = 0,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Fill in missing words, a token for each `___`, by a search over codes."""
    from seqvae.inference.infilling import InfillSearch
    from seqvae.inference.infilling import infill as fill

    if bool(patterns) == bool(benchmark):
        raise UserError(
            'give patterns such as "the man ___ a guitar ___", or --benchmark RUN, one of the two'
        )
    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "only sentences have missing words")
    how = InfillSearch(beam, rounds, starts, refine, samples)
    if benchmark:
        _benchmark(vae, load_vae(benchmark, device), how, examples, seed, json)
        return
    found = fill(vae, patterns or [], how, seed)
    if json:
        emit_json([vars(each) for each in found])
    else:
        emit_lines(each.text for each in found)


def _benchmark(vae: Any, lm: Any, how: Any, examples: int, seed: int, json: bool) -> None:
    from seqvae.analysis.infill_benchmark import benchmark_infill

    report = Terminal()
    rows = benchmark_infill(vae, lm, how, examples, seed, report.advance)
    report.close()
    if json:
        emit_json(rows)
    else:
        emit_lines(align_columns(COLUMNS, [[format_value(row[key]) for key in COLUMNS] for row in rows]))


COMMANDS = (infill,)
