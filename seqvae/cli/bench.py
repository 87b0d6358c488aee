"""`seqvae bench`: how fast it is on this machine, and how fast it could be."""

from __future__ import annotations

from typing import Annotated

import typer

from seqvae.cli.output import emit_json, emit_lines
from seqvae.cli.training import JSON
from seqvae.tables import aligned


def bench(
    preset: Annotated[
        str, typer.Option(help="reference, batch128, wide, lstm or transformer.")
    ] = "reference",
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value over the preset.")] = None,
    seconds: Annotated[float, typer.Option(help="About so long for each timing.", min=0.01)] = 3.0,
    cold: Annotated[bool, typer.Option(help="Time the commands' cold starts too.")] = True,
    json: JSON = False,
) -> None:
    """Time training, sampling, encoding and likelihoods beside the limit of this machine."""
    from seqvae.bench import bench as run
    from seqvae.bench import table

    found = run(preset, sets or [], seconds, cold)
    emit_json(found) if json else emit_lines(aligned(("figure", "", "of its limit"), list(table(found))))


COMMANDS = (bench,)
