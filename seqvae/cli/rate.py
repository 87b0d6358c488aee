"""`seqvae rate`: how many nats examples need, what they are with fewer, and a run's default rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.asked import (
    CONDITION,
    DATA,
    DEVICE,
    GIVEN,
    INPUT,
    JSON,
    RUN,
    drawn_into,
    examples_asked,
    loaded,
    numbers,
)
from seqvae.cli.output import emit_json, emit_lines
from seqvae.cli.reading import Reading, reads_files
from seqvae.progress import Terminal
from seqvae.tables import aligned

if TYPE_CHECKING:
    from seqvae.examples import Examples
    from seqvae.needs import Need, PictureNeed

RATES = Annotated[str, typer.Option(help="Nats, as 2,4,8; each doubling of the trained range by default.")]


@reads_files
def rate(
    run: RUN,
    given: GIVEN = None,
    input_: INPUT = None,
    data: DATA = None,
    examples: Annotated[int | None, typer.Option(help="Only the first so many.", min=1)] = None,
    accuracy: Annotated[float, typer.Option(help="Share of the tokens that must be right.")] = 1.0,
    distortion: Annotated[float | None, typer.Option(help="Or the nats that p(x|z) may cost.")] = None,
    draws: Annotated[int, typer.Option(help="Codes of each posterior; 0 takes its mean.", min=0)] = 0,
    rounds: Annotated[int, typer.Option(help="Bisections; each halves the error in ln R.", min=0)] = 8,
    ladder: Annotated[bool, typer.Option("--ladder", help="Show each at several rates instead.")] = False,
    choose: Annotated[bool, typer.Option("--choose", help="Give the run its best default rate.")] = False,
    rates: RATES = "",
    output: Annotated[Path | None, typer.Option(help="A .png or .pdf file: pictures, or needs.")] = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    *,
    reading: Reading,
) -> None:
    """How many nats does each example need to come back? For runs trained over a range of rates."""
    from seqvae.needs import Wanted

    vae = loaded(run, device, condition=condition, reading=reading, sources=data or input_)
    asked = numbers(rates) if rates else []
    if choose:
        _choose(vae, asked, json)
        return
    shown = examples_asked(vae, given, input_, data, examples, reading)
    if ladder:
        _ladder(vae, shown, asked, output, json)
    else:
        _needs(vae, shown, Wanted(accuracy, distortion, draws, rounds), output, json)


def _choose(vae: Any, rates: list[float], json: bool) -> None:
    from seqvae.default_rate import choose_rate
    from seqvae.rates import in_words

    report = Terminal()
    chosen = choose_rate(vae.run, rates, progress=report.advance)
    report.close()
    emit_json(chosen) if json else emit_lines([in_words(chosen)])


def _ladder(vae: Any, shown: Examples, rates: list[float], output: Path | None, json: bool) -> None:
    from seqvae.rungs import picture_rungs, rungs

    if (file := drawn_into(vae, output)) is not None:
        from seqvae.plots import ladder, save

        typer.echo(save(ladder(shown.x / 255, *picture_rungs(vae, shown, rates)), file))
        return
    found = rungs(vae, shown, rates)
    if json:
        emit_json([vars(rung) for rung in found])
        return
    for text in dict.fromkeys(rung.text for rung in found):
        rows = [(f"{r.nats:g}", "=" if r.exact else "", r.reconstruction) for r in found if r.text == text]
        emit_lines([text, *aligned(("nats", "", "comes back as"), rows), ""])


def _needs(vae: Any, shown: Examples, wanted: Any, output: Path | None, json: bool) -> None:
    from seqvae.build import wing_of
    from seqvae.needs import needs_of
    from seqvae.rates import trained_range

    report, (_, high), wing = Terminal(), trained_range(vae.vae.latent), wing_of(vae.run.config)
    found = needs_of(vae, shown, wanted, report)
    report.close()
    if output is not None:
        from seqvae.plots import needs, save

        typer.echo(save(needs([need.nats for need in found], high, wing.examples), output), err=True)
    if json:
        emit_json([vars(need) for need in found])
    else:
        emit_lines(aligned(("nats", wing.example), [(_nats(need, high), _row(need)) for need in found]))


def _nats(need: Need | PictureNeed, high: float) -> str:
    return f"> {high:g}" if need.nats is None else f"{need.nats:.2f}"


def _row(need: Any) -> str:
    """One that did not come back shows what it became."""
    if hasattr(need, "picture"):
        return f"{need.picture}  (distortion {need.distortion:.2f} nats)"
    return need.text if need.nats is not None else f"{need.text}  ->  {need.reconstruction}"


COMMANDS = (rate,)
