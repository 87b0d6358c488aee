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
PROFILED = PRESETS[:5]  # by default; the others take minutes on a CPU


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
    ablation: Annotated[bool, typer.Option(help="Training without each optimisation.")] = False,
    threads: Annotated[bool, typer.Option(help="Training under each way in which threads may wait.")] = False,
    peers: Annotated[
        Path | None,
        typer.Option(help="Compare training speed with other projects, whose clones this folder holds."),
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="With --peers: what all train on; made up by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Repetitions of each, with --threads and --peers.", min=1)] = 5,
    use: Annotated[bool, typer.Option(help="Time sampling, encoding and likelihoods too.")] = True,
    json: JSON = False,
) -> None:
    """Time training, sampling, encoding and likelihoods, and compare with the limit of this machine."""
    if sum(map(bool, (curves, profile, ablation, threads, peers))) > 1 or (sweep and not curves):
        modes = "--curves, --profile, --ablation, --threads and --peers"
        raise UserError(f"give one of {modes}, and --sweep with --curves alone")
    if text and not peers:
        raise UserError("--text is what --peers train on: give both")
    if threads:
        _threads(preset or PRESETS[0], sets or [], seconds, rounds, json)
    elif peers:
        _peers(peers, text, sets or [], seconds, rounds, json)
    elif curves:
        _curves(curves, sweep or [], sets or [], seconds, json)
    elif profile:
        _profile(profile, PROFILED if preset is None else (preset,), sets or [], seconds, json)
    elif ablation:
        _ablation(preset or PRESETS[0], sets or [], seconds, json)
    else:
        _figures(preset or PRESETS[0], sets or [], seconds, (cold, use), json)


def _figures(preset: str, sets: list[str], seconds: float, what: tuple[bool, bool], json: bool) -> None:
    from seqvae.benchmarks import bench as run
    from seqvae.benchmarks import format_table

    found = run(preset, sets, seconds, *what)
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
    names = ("without", "instead")
    cells = [
        (*(r[name] or "-" for name in names), f"{r['tokens_per_s']:,}", _percent(r["share"]),
         f"{r['update_mb']:,.0f}")
        for r in rows
    ]  # fmt: skip
    head = (*names, "tokens/s", "of all", "MB of an update")
    emit_json(rows) if json else emit_lines(align_columns(head, cells))


def _threads(preset: str, sets: list[str], seconds: float, rounds: int, json: bool) -> None:
    from seqvae.benchmarks import wait_policies

    rows = wait_policies(preset, sets, seconds, rounds)
    cells = [
        (
            r["policy"],
            *(c for p in ("quiet", "busy") for c in (f"{r[p]:,}", _percent(r[f"{p}_share"]))),
            _percent(r["worse"]),
        )
        for r in rows
    ]
    head = ("threads that wait", "quiet, tokens/s", "of best", "beside busy loops", "of best", "the worse")
    emit_json(rows) if json else emit_lines(align_columns(head, cells))


def _peers(folder: Path, text: Path | None, sets: list[str], seconds: float, rounds: int, json: bool) -> None:
    from seqvae.benchmarks import peer_speeds

    rows = peer_speeds(folder, text, sets, seconds, rounds)
    cells = [(r["name"], f"{r['tokens_per_s']:,}", f"{r['times']:.2f}") for r in rows]
    head = ("training", "tokens/s", "times the faster peer")
    emit_json(rows) if json else emit_lines(align_columns(head, cells))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


COMMANDS = (bench,)
