"""`seqvae edit`: sentences moved from what some others share to what yet others share."""

from __future__ import annotations

from typing import Annotated

import typer

from seqvae.cli.options import (
    CONDITION,
    DEVICE,
    INPUT,
    JSON,
    RATE,
    RUN,
    TEXTS,
    load_vae,
    parse_numbers,
    read_sentences,
    require_text,
)
from seqvae.cli.printing import emit_json, emit_lines


def edit(
    run: RUN,
    towards: Annotated[str, typer.Option(help="A file of sentences that have what is wanted.")],
    away: Annotated[str, typer.Option(help="A file of sentences that have its opposite.")],
    texts: TEXTS = None,
    strength: Annotated[str, typer.Option(help="How far; several as 0.5,1,2.")] = "1",
    input_: INPUT = None,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Move sentences through the code: from what one group of sentences shares to what another does."""
    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "`seqvae traverse RUN --attribute NAME` moves pictures")
    given = read_sentences(vae, texts, input_)
    amounts = parse_numbers(strength, "--strength")
    direction = vae.direction(read_sentences(vae, None, towards), read_sentences(vae, None, away))
    by_amount = [vae.shifted(given, amount * direction) for amount in amounts]
    rows = [list(zip(amounts, edited, strict=True)) for edited in zip(*by_amount, strict=True)]
    if json:
        emit_json([{"text": t, "edited": dict(row)} for t, row in zip(given, rows, strict=True)])
        return
    for text, row in zip(given, rows, strict=True):
        emit_lines([text, *(f"{amount:g}  {edited}" for amount, edited in row)])


COMMANDS = (edit,)
