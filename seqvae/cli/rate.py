"""`seqvae rate`: how many nats examples need, what they are with fewer, and a run's default rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.output import emit_json, emit_lines
from seqvae.cli.training import CONDITION, DEVICE, JSON, RUN
from seqvae.cli.use import INPUT, loaded, sentences
from seqvae.progress import Terminal
from seqvae.registry import UserError
from seqvae.tables import aligned

if TYPE_CHECKING:
    from seqvae.examples import Examples
    from seqvae.needs import Need, PictureNeed

GIVEN = Annotated[list[str] | None, typer.Argument(help="Sentences, or picture files.", show_default=False)]
RATES = Annotated[str, typer.Option(help="Nats, as 2,4,8; each doubling of the trained range by default.")]


def rate(
    run: RUN,
    given: GIVEN = None,
    input_: INPUT = None,
    data: Annotated[str | None, typer.Option(help="train, valid, test or a file, for all in it.")] = None,
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
) -> None:
    """How many nats does each example need to come back? For runs trained over a range of rates."""
    from seqvae.needs import Wanted

    vae = loaded(run, device, condition=condition)
    if choose:
        _choose(vae, numbers(rates), json)
        return
    shown = examples_asked(vae, given, input_, data, examples)
    if ladder:
        _ladder(vae, shown, numbers(rates), output, json)
    else:
        _needs(vae, shown, Wanted(accuracy, distortion, draws, rounds), output, json)


def numbers(written: str, option: str = "--rates") -> list[float]:
    """Numbers as people write them, 2,4,8.

    Raises:
        UserError: something else.
    """
    try:
        return [float(word) for word in written.split(",") if word]
    except ValueError:
        raise UserError(f"{option} got {written!r}: write numbers with commas, as 2,4,8") from None


def examples_asked(
    vae: Any, given: list[str] | None, source: str | None, data: str | None, n: int | None
) -> Examples:
    """What the command line names, by itself or as data.

    Raises:
        UserError: both are given, or neither; or it cannot be read.
    """
    from seqvae.examples import Examples, examples_of

    if data is not None:
        if given or source:
            raise UserError(f"--data {data} names all that is asked about: leave the rest out")
        return examples_of(vae, data, n)
    if vae.modality == "text":
        return Examples(sentences(vae, given, source)[:n])
    if not given:
        raise UserError("give picture files as arguments, or --data train, valid, test or a file")
    return Examples(vae._pixels(given)[:n])


def _choose(vae: Any, rates: list[float], json: bool) -> None:
    from seqvae.default_rate import choose_rate
    from seqvae.rates import in_words

    report = Terminal()
    chosen = choose_rate(vae.run, rates, progress=report.advance)
    report.close()
    emit_json(chosen) if json else emit_lines([in_words(chosen)])


def _ladder(vae: Any, shown: Examples, rates: list[float], output: Path | None, json: bool) -> None:
    from seqvae.rungs import picture_rungs, rungs

    if vae.modality == "image":
        from seqvae.plots import ladder, save

        if output is None:
            raise UserError(f"{vae.run.path} holds pictures: say where to with --output FILE.png")
        typer.echo(save(ladder(shown.x / 255, *picture_rungs(vae, shown, rates)), output))
        return
    found = rungs(vae, shown, rates)
    if json:
        emit_json([vars(rung) for rung in found])
        return
    for text in dict.fromkeys(rung.text for rung in found):
        rows = [(f"{r.nats:g}", "=" if r.exact else "", r.reconstruction) for r in found if r.text == text]
        emit_lines([text, *aligned(("nats", "", "comes back as"), rows), ""])


def _needs(vae: Any, shown: Examples, wanted: Any, output: Path | None, json: bool) -> None:
    from seqvae.needs import needs_of
    from seqvae.rates import trained_range

    report, (_, high) = Terminal(), trained_range(vae.vae.latent)
    found = needs_of(vae, shown, wanted, report)
    report.close()
    if output is not None:
        from seqvae.plots import needs, save

        typer.echo(save(needs([need.nats for need in found], high, _what(vae)), output), err=True)
    if json:
        emit_json([vars(need) for need in found])
    else:
        emit_lines(aligned(("nats", _what(vae)[:-1]), [(_nats(need, high), _row(need)) for need in found]))


def _what(vae: Any) -> str:
    from seqvae.build import wing_of

    return wing_of(vae.run.config).examples


def _nats(need: Need | PictureNeed, high: float) -> str:
    return f"> {high:g}" if need.nats is None else f"{need.nats:.2f}"


def _row(need: Any) -> str:
    """One that did not come back shows what it became."""
    if hasattr(need, "picture"):
        return f"{need.picture}  (distortion {need.distortion:.2f} nats)"
    return need.text if need.nats is not None else f"{need.text}  ->  {need.reconstruction}"


COMMANDS = (rate,)
