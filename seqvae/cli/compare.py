"""`seqvae compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqvae.cli.terminal import Terminal
from seqvae.errors import UserError


def compare(
    comparison: Annotated[str, typer.Argument(help="A YAML of base, variants, seeds; or a shipped one.")],
    out: Annotated[Path, typer.Option(help="The folder of its runs; call again to resume or share.")],
    only: Annotated[str, typer.Option(help="Variants to work on, as lm,ae; the others' rows stay.")] = "",
    devices: Annotated[str, typer.Option(help="One run at a time on each, as cuda:0,cuda:1.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time; they share the CPU's threads.")] = 1,
) -> None:
    """Train and evaluate variants of a config alike; prints one table, mean ± s.d. over seeds."""
    from seqvae.experiments.compare import available_slots, load_comparison
    from seqvae.experiments.compare import compare as compared

    where = available_slots([name for name in devices.split(",") if name], workers)
    named = [name for name in only.split(",") if name]
    table = compared(load_comparison(comparison), out, Terminal(), named, where)
    typer.echo(table.markdown(), nl=False)
    if table.failed:
        raise UserError(f"{table.failures()}: the end of the table says why, the same command tries again")


COMMANDS = (compare,)
