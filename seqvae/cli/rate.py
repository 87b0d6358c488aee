"""`seqvae rate`: minimum rate per example, reconstructions at several rates, and a run's default rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.options import (
    CONDITION,
    DATA,
    DEVICE,
    GIVEN,
    INPUT,
    JSON,
    RUN,
    image_output,
    load_vae,
    parse_numbers,
    read_examples,
)
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.cli.reading import Reading, reads_files
from seqvae.cli.terminal import Terminal
from seqvae.utils.tables import align_columns

if TYPE_CHECKING:
    from seqvae.analysis.minimum_rate import ImageMinimumRate, MinimumRate
    from seqvae.inference.inputs import Inputs

RATES = Annotated[
    str, typer.Option(help="Nats, as 2,4,8; the doublings within the trained range by default.")
]


@reads_files
def rate(
    run: RUN,
    given: GIVEN = None,
    input_: INPUT = None,
    data: DATA = None,
    examples: Annotated[int | None, typer.Option(help="Only the first N examples.", min=1)] = None,
    accuracy: Annotated[float, typer.Option(help="Fraction of the tokens that must be right.")] = 1.0,
    distortion: Annotated[float | None, typer.Option(help="Or the distortion to reach, in nats.")] = None,
    draws: Annotated[int, typer.Option(help="Codes of each posterior; 0 takes its mean.", min=0)] = 0,
    rounds: Annotated[int, typer.Option(help="Bisections; each halves the error in ln R.", min=0)] = 8,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Show the reconstructions at several rates instead.")
    ] = False,
    ladder: Annotated[bool, typer.Option("--ladder", hidden=True)] = False,
    choose: Annotated[bool, typer.Option("--choose", help="Give the run its best default rate.")] = False,
    rates: RATES = "",
    output: Annotated[Path | None, typer.Option(help="A .png or .pdf file: pictures, or needs.")] = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    *,
    reading: Reading,
) -> None:
    """Find how many nats each example needs to be reconstructed, with a variable-rate run."""
    from seqvae.analysis.minimum_rate import ReconstructionTarget

    vae = load_vae(run, device, condition=condition, reading=reading, sources=data or input_)
    asked = parse_numbers(rates) if rates else []
    if choose:
        _choose(vae, asked, json)
        return
    shown = read_examples(vae, given, input_, data, examples, reading)
    if ladder:
        typer.echo("seqvae: --ladder is deprecated: use --sweep", err=True)
    if sweep or ladder:
        _reconstruct_at_rates(vae, shown, asked, output, json)
    else:
        _find_minimum_rates(
            vae, shown, ReconstructionTarget(accuracy, distortion, draws, rounds), output, json
        )


def _choose(vae: Any, rates: list[float], json: bool) -> None:
    from seqvae.evaluation.rate_sweep import describe_choice
    from seqvae.inference.default_rate import choose_rate

    report = Terminal()
    chosen = choose_rate(vae.run, rates, progress=report.advance)
    report.close()
    emit_json(chosen) if json else emit_lines([describe_choice(chosen)])


def _reconstruct_at_rates(
    vae: Any, shown: Inputs, rates: list[float], output: Path | None, json: bool
) -> None:
    from seqvae.analysis.rate_ladder import reconstruct_at_rates, reconstruct_images_at_rates

    if (file := image_output(vae, output)) is not None:
        from seqvae.plots import rate_ladder, save

        typer.echo(save(rate_ladder(shown.x / 255, *reconstruct_images_at_rates(vae, shown, rates)), file))
        return
    found = reconstruct_at_rates(vae, shown, rates)
    if json:
        emit_json([vars(row) for row in found])
        return
    for text in dict.fromkeys(row.text for row in found):
        rows = [(f"{r.nats:g}", "=" if r.exact else "", r.reconstruction) for r in found if r.text == text]
        emit_lines([text, *align_columns(("nats", "", "reconstruction"), rows), ""])


def _find_minimum_rates(vae: Any, shown: Inputs, wanted: Any, output: Path | None, json: bool) -> None:
    from seqvae.analysis.minimum_rate import find_minimum_rates
    from seqvae.build import modality_of
    from seqvae.evaluation.rate_sweep import trained_range

    report, (_, high), modality = Terminal(), trained_range(vae.vae.latent), modality_of(vae.run.config)
    found = find_minimum_rates(vae, shown, wanted, report)
    report.close()
    if output is not None:
        from seqvae.plots import minimum_rates, save

        typer.echo(
            save(minimum_rates([need.nats for need in found], high, modality.examples), output), err=True
        )
    if json:
        emit_json([vars(need) for need in found])
    else:
        emit_lines(
            align_columns(("nats", modality.example), [(_nats(need, high), need.summary) for need in found])
        )


def _nats(need: MinimumRate | ImageMinimumRate, high: float) -> str:
    return f"> {high:g}" if need.nats is None else f"{need.nats:.2f}"


COMMANDS = (rate,)
