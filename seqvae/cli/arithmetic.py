"""`seqvae arithmetic`: sentences added and subtracted through their codes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from seqvae.cli.options import CONDITION, DEVICE, JSON, RATE, RUN, load_vae, require_text
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.cli.terminal import Terminal
from seqvae.errors import UserError
from seqvae.utils.tables import align_columns

HEAD = ("success", "exact", "drift", "lost")


def arithmetic(
    run: RUN,
    expressions: Annotated[
        list[str] | None, typer.Argument(help='As "a - b + c", of sentences.', show_default=False)
    ] = None,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Measure it on the embedded grammar instead.")
    ] = False,
    examples: Annotated[int, typer.Option(help="Of the benchmark: sentences per seed.", min=6)] = 300,
    seeds: Annotated[int, typer.Option(help="Of the benchmark.", min=1)] = 5,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Add and subtract sentences through their codes, and write the sentence at the sum."""
    if bool(expressions) == benchmark:
        raise UserError('give expressions such as "a - b + c", or --benchmark, one of the two')
    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "`seqvae.inference.arithmetic.combine_codes` adds codes of pictures")
    if benchmark:
        _benchmark(vae, examples, seeds, json)
        return
    from seqvae.inference.arithmetic import calculate

    found = [(expression, calculate(vae, expression)) for expression in expressions or ()]
    if json:
        emit_json([{"expression": expression, "text": text} for expression, text in found])
    else:
        emit_lines(text for _, text in found)


def _benchmark(vae: Any, examples: int, seeds: int, json: bool) -> None:
    from seqvae.analysis.grammar_arithmetic import benchmark_arithmetic

    report = Terminal()
    rows = benchmark_arithmetic(vae, examples, seeds, report.advance)
    report.close()
    if json:
        emit_json(rows)
        return
    cells = [[row["method"], row["attribute"], *(f"{row[key]:.3f}" for key in HEAD)] for row in rows]
    emit_lines(align_columns(("method", "attribute", *HEAD), cells))


COMMANDS = (arithmetic,)
