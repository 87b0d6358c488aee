"""`seqvae bench`: how fast it is on this machine, and how fast it could be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqvae.cli.options import JSON
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.errors import UserError
from seqvae.utils.tables import align_columns

PRESETS = ("reference", "batch128", "wide", "lstm", "transformer", "gru1024", "lstm1024", "conv")
PROFILED = PRESETS[:5]  # where none is named: the others take a CPU minutes


def bench(
    preset: Annotated[str | None, typer.Option(help=f"{', '.join(PRESETS)}.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value over the preset.")] = None,
    seconds: Annotated[float, typer.Option(help="About so long for each timing.", min=0.01)] = 3.0,
    cold: Annotated[bool, typer.Option(help="Time the commands' cold starts too.")] = True,
    curves: Annotated[Path | None, typer.Option(help="Draw costs over sizes into this file.")] = None,
    sweep: Annotated[
        list[str] | None, typer.Option(help="NAME or NAME=N,N,...: which sizes, for --curves.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Draw where an update's time goes, of each preset.")
    ] = None,
    ablation: Annotated[bool, typer.Option(help="Training without each trick.")] = False,
    json: JSON = False,
) -> None:
    """Time training, sampling, encoding and likelihoods beside the limit of this machine."""
    if sum(map(bool, (curves, profile, ablation))) > 1 or (sweep and not curves):
        raise UserError("give one of --curves, --profile and --ablation, and --sweep with --curves alone")
    if curves:
        _curves(curves, sweep or [], sets or [], seconds, json)
    elif profile:
        _profile(profile, PROFILED if preset is None else (preset,), sets or [], seconds, json)
    elif ablation:
        _ablation(preset or PRESETS[0], sets or [], seconds, json)
    else:
        _figures(preset or PRESETS[0], sets or [], seconds, cold, json)


def _figures(preset: str, sets: list[str], seconds: float, cold: bool, json: bool) -> None:
    from seqvae.benchmarks import bench as run
    from seqvae.benchmarks import format_table

    found = run(preset, sets, seconds, cold)
    emit_json(found) if json else emit_lines(
        align_columns(("figure", "", "of its limit"), list(format_table(found)))
    )


def _curves(picture: Path, sweep: list[str], sets: list[str], seconds: float, json: bool) -> None:
    from seqvae.benchmarks import draw_curves, fit_slopes, measure_curves
    from seqvae.plots import check_picture, save

    check_picture(picture)
    rows = measure_curves(sweep, sets, seconds)
    path = save(draw_curves(rows), picture)
    head = ("sweep", "line", "from", "slope")
    emit_json({"picture": str(path), "rows": rows}) if json else emit_lines(
        align_columns(head, list(fit_slopes(rows)))
    )


def _profile(picture: Path, presets: tuple[str, ...], sets: list[str], seconds: float, json: bool) -> None:
    from seqvae.benchmarks import draw_profile, profile
    from seqvae.plots import check_picture, save

    check_picture(picture)
    found = profile(presets, sets, seconds)
    path = save(draw_profile(found), picture)
    emit_json({"picture": str(path), "presets": found}) if json else typer.echo(path)


def _ablation(preset: str, sets: list[str], seconds: float, json: bool) -> None:
    from seqvae.benchmarks import run_ablation

    rows = run_ablation(preset, sets, seconds)
    cells = [(r["without"] or "-", f"{r['tokens_per_s']:,}", f"{100 * r['share']:.0f} %") for r in rows]
    emit_json(rows) if json else emit_lines(align_columns(("without", "tokens/s", "of all"), cells))


COMMANDS = (bench,)
