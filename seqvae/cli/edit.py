"""`seqvae edit`: shift the codes of sentences along the difference of two groups' mean codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.options import (
    CONDITION,
    DEVICE,
    INPUT,
    JSON,
    PRINT0,
    RATE,
    RUN,
    TEXTS,
    load_vae,
    parse_numbers,
    require_text,
    rows,
)
from seqvae.cli.printing import emit_json, emit_lines, emit_texts, format_value
from seqvae.cli.reading import Reading, reads_files, say
from seqvae.cli.terminal import Terminal
from seqvae.cli.writing import Writing, writes_sentences
from seqvae.errors import UserError
from seqvae.utils.tables import align_columns

if TYPE_CHECKING:
    from seqvae.inference.directions import Direction
    from seqvae.inference.inputs import Inputs

HEAD = ("method", "seeds", "success", "exact", "drift", "lost")


@reads_files
@writes_sentences
def edit(
    run: RUN,
    towards: Annotated[
        list[str] | None, typer.Option(help="Files of sentences that have the attribute.")
    ] = None,
    away: Annotated[
        list[str] | None, typer.Option(help="Files of sentences that lack it or have its opposite.")
    ] = None,
    texts: TEXTS = None,
    strength: Annotated[
        str | None, typer.Option(help="How far; several as 0.5,1,2. By default the fewest words change.")
    ] = None,
    input_: INPUT = None,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Measure edits on the embedded grammar instead.")
    ] = False,
    examples: Annotated[int, typer.Option(help="Of the benchmark: sentences per seed.", min=6)] = 300,
    seeds: Annotated[int, typer.Option(help="Of the benchmark.", min=1)] = 5,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    print0: PRINT0 = False,
    *,
    reading: Reading,
    writing: Writing,
) -> None:
    """Edit sentences through their codes: move them from one group of sentences towards another."""
    sources = [*(towards or ()), *(away or ())]
    vae = load_vae(run, device, rate, condition=condition, reading=reading, sources=sources)
    require_text(vae, "`seqvae traverse RUN --attribute NAME` edits pictures")
    if (benchmark or strength is None) and writing.given:
        raise UserError(
            "options of writing sentences, as --constraint, are for moved codes: give --strength too"
        )
    if benchmark:
        _benchmark(vae, examples, seeds, json)
        return
    given = rows(vae, texts, input_, reading=reading)
    amounts = parse_numbers(strength, "--strength") if strength is not None else None
    direction = _direction(vae, towards, away, reading)
    if amounts is None:
        _minimal(vae, given, direction, json, print0)
    else:
        _at_strengths(vae, given, direction, amounts, writing, json, print0)


def _direction(vae: Any, towards: list[str] | None, away: list[str] | None, reading: Reading) -> Direction:
    """The direction between the groups; what held-out sentences say about it goes to stderr.

    Raises:
        UserError: a group is missing.
    """
    from seqvae.inference.editing import find_direction

    if not towards or not away:
        raise UserError("give --towards FILE and --away FILE: sentences with and without what is to change")
    direction = find_direction(vae, *(rows(vae, None, files, reading=reading).x for files in (towards, away)))
    if direction.confidence:
        say(direction.confidence)
    return direction


def _minimal(vae: Any, given: Inputs, direction: Direction, json: bool, print0: bool) -> None:
    from seqvae.inference.editing import edit_minimally

    found = given.spread(edit_minimally(vae, given.x, direction))
    if json:
        emit_json([None if one is None else vars(one) for one in found])
    elif print0:
        emit_texts([one.edited if one else "" for one in found], print0)
    else:
        emit_lines(line for one in found for line in ((one.text, f"> {one.edited}") if one else ("", "")))
    if missed := sum(not one.reached for one in found if one):
        say(f"{missed:,} of {len(given):,} sentences did not change sides: the code may not carry it")


def _at_strengths(
    vae: Any,
    given: Inputs,
    direction: Direction,
    amounts: list[float],
    writing: Writing,
    json: bool,
    print0: bool,
) -> None:
    how = writing.how(vae, greedy=True)
    moved = [vae.shift(given.x, amount * direction.step, how, writing.rule) for amount in amounts]
    writing.said(len(amounts) * len(given.x), sum(writing.missing(text) for row in moved for text in row))
    by_amount = [given.spread([writing.shown(text) for text in row]) for row in moved]
    edited = [list(zip(amounts, row, strict=True)) for row in zip(*by_amount, strict=True)]
    found = list(zip(given.spread(given.x, ""), edited, strict=True))
    if json:
        writing.emit_json([{"text": text, "edited": dict(row)} for text, row in found])
    elif print0:
        emit_texts([made or "" for _, row in found for _, made in row], print0)
    else:
        emit_lines(
            line for text, row in found for line in (text, *(f"{a:g}  {made or ''}" for a, made in row))
        )


def _benchmark(vae: Any, examples: int, seeds: int, json: bool) -> None:
    from seqvae.analysis.grammar_edits import EditBenchmark, benchmark_edits, summarise

    report = Terminal()
    found = benchmark_edits(vae, EditBenchmark(examples, seeds=seeds), progress=report.advance)
    report.close()
    if json:
        emit_json(found)
        return
    table = [[format_value(row[key]) for key in HEAD] for row in summarise(found)]
    emit_lines(align_columns(HEAD, table))


COMMANDS = (edit,)
