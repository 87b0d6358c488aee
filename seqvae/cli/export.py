"""`seqvae export`: copy a run to a folder that can be moved or shared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqvae.cli.options import RUN
from seqvae.errors import UserError


def export(
    run: RUN,
    out: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    whole: Annotated[
        bool, typer.Option("--whole", help="Include the pretrained models that the run builds on.")
    ] = False,
) -> None:
    """Copy what is needed to use a run, without its checkpoints and logs; prints the folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists: choose another folder")
    from seqvae.inference import load

    load(run, "cpu").save_pretrained(out, whole=whole)
    typer.echo(out)


COMMANDS = (export,)
