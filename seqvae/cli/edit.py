"""`seqvae edit`: shift the codes of sentences along the difference of two groups' mean codes."""

from __future__ import annotations

from typing import Annotated

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
from seqvae.cli.printing import emit_lines, emit_texts
from seqvae.cli.reading import Reading, reads_files
from seqvae.cli.writing import Writing, writes_sentences


@reads_files
@writes_sentences
def edit(
    run: RUN,
    towards: Annotated[list[str], typer.Option(help="Files of sentences that have the attribute.")],
    away: Annotated[list[str], typer.Option(help="Files of sentences that lack it or have its opposite.")],
    texts: TEXTS = None,
    strength: Annotated[str, typer.Option(help="How far; several as 0.5,1,2.")] = "1",
    input_: INPUT = None,
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
    vae = load_vae(run, device, rate, condition=condition, reading=reading, sources=[*towards, *away])
    require_text(vae, "`seqvae traverse RUN --attribute NAME` edits pictures")
    given = rows(vae, texts, input_, reading=reading)
    amounts = parse_numbers(strength, "--strength")
    groups = (rows(vae, None, files, reading=reading).x for files in (towards, away))
    direction = vae.direction(*groups)
    how = writing.how(vae, greedy=True)
    moved = [vae.shifted(given.x, amount * direction, how, writing.rule) for amount in amounts]
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


COMMANDS = (edit,)
