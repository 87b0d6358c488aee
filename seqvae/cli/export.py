"""`seqvae export` and `seqvae card`: copy a run, export its codes to a projector, write its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seqvae.cli.options import DATA, DEVICE, RUN, load_vae, only, parse_numbers
from seqvae.cli.terminal import Terminal
from seqvae.errors import UserError


def export(
    run: RUN,
    out: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    whole: Annotated[
        bool, typer.Option("--whole", help="Include the pretrained models that the run builds on.")
    ] = False,
    projector: Annotated[
        bool,
        typer.Option("--projector", help="Codes instead, as TensorBoard's embedding projector reads them."),
    ] = False,
    data: DATA = None,
    examples: Annotated[int, typer.Option(help="Of the projector: the first N.", min=1)] = 5000,
    device: DEVICE = "auto",
) -> None:
    """Copy what is needed to use a run, without its checkpoints and logs; prints the folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists: choose another folder")
    from seqvae.inference import load

    if projector:
        _write_projector(load(run, device), out, data, examples)
    elif data:
        raise UserError("--data names examples for --projector: add it, or leave --data out")
    else:
        load(run, "cpu").save_pretrained(out, whole=whole)
    typer.echo(out)


def _write_projector(vae: Any, out: Path, data: list[str] | None, examples: int) -> None:
    from seqvae.inference.projector import export_codes

    export_codes(vae, out, only(data) if data else None, examples)


def card(
    run: RUN,
    samples: Annotated[int, typer.Option(help="K of IW-NLL; papers use 500.")] = 20,
    examples: Annotated[int | None, typer.Option(help="Only the first N examples.", min=1)] = None,
    rates: Annotated[
        str, typer.Option(help="Rates in nats, as 4,16, one row per rate; by default the run's.")
    ] = "",
    device: DEVICE = "auto",
) -> None:
    """Measure a run and write its model card, README.md, which export and push_to_hub copy."""
    report = Terminal()
    asked = parse_numbers(rates) if rates else ()
    file = load_vae(run, device).write_card(None, samples, examples, asked, progress=report.advance)
    report.close()
    typer.echo(file)


COMMANDS = (export, card)
