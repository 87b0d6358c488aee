"""`seqvae plot` and `traverse`: figures of a run, and traversals of one dim or attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqvae.cli.options import (
    CONDITION,
    DEVICE,
    JSON,
    PRIOR,
    RATE,
    RUN,
    image_output,
    load_vae,
    parse_numbers,
)
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.cli.terminal import Terminal

NAMES = (
    "reconstructions, samples, interpolation, codes, manifold, tsne, traversals, posterior, kl-per-dim, "
    "gain-by-position, curves, rate-distortion, needs or sample-quality"
)


def plot(
    run: RUN,
    name: Annotated[str, typer.Argument(help=f"One of {NAMES}.", show_default=False)],
    output: Annotated[Path, typer.Option(help="A .png or .pdf file.")],
    label: Annotated[str | None, typer.Option(help="The label that colours codes.")] = None,
    examples: Annotated[int, typer.Option(help="Evaluation examples, at most.", min=2)] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples.")] = 0,
    beside: Annotated[str | None, typer.Option(help="Another run, for traversals side by side.")] = None,
    others: Annotated[list[str] | None, typer.Option("--with", help="Runs to compare rates with.")] = None,
    rates: Annotated[str, typer.Option(help="Nats, as 2,4,8, of a variable-rate run.")] = "",
    samples: Annotated[int, typer.Option(help="K of IW-NLL, over rates.", min=1)] = 20,
    draws: Annotated[int, typer.Option(help="Prior samples, for sample-quality.", min=2)] = 2000,
    distortion: Annotated[float | None, typer.Option(help="Distortion to reach, in nats, for needs.")] = None,
    rate: RATE = None,
    prior: PRIOR = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the numbers over rates too.")] = False,
) -> None:
    """Plot a figure of a run into a file; prints its path."""
    from seqvae.analysis.figures import draw_figure
    from seqvae.analysis.measurements import PlotInputs
    from seqvae.analysis.minimum_rate import ReconstructionTarget
    from seqvae.analysis.rate_figures import table
    from seqvae.inference import load
    from seqvae.plots import save

    report, vae = Terminal(), load_vae(run, device, rate, prior, condition)
    subject = PlotInputs(
        vae,
        label,
        examples,
        seed,
        others=tuple(load(other, device) for other in others or []),
        rates=tuple(parse_numbers(rates)) if rates else (),
        samples=samples,
        draws=draws,
        wanted=ReconstructionTarget(distortion=distortion),
        progress=report.advance,
        beside=None if beside is None else load(beside, device),
    )
    rows = table(subject, name) if json else None
    path = save(draw_figure(subject, name), output)
    report.close()
    typer.echo(path) if rows is None else emit_json({"picture": str(path), "rows": rows})


def traverse(
    run: RUN,
    example: Annotated[
        str | None, typer.Argument(help="A sentence, or a picture file; a prior sample without it.")
    ] = None,
    dim: Annotated[int | None, typer.Option(help="The dim to change, from 0.")] = None,
    attribute: Annotated[str | None, typer.Option(help="The label to change; text has length.")] = None,
    low: Annotated[
        float, typer.Option(help="First value of the dim, or of the label in standard deviations.")
    ] = -3.0,
    high: Annotated[float, typer.Option(help="Last value.")] = 3.0,
    steps: Annotated[int, typer.Option(help="Steps in all.", min=2)] = 7,
    output: Annotated[Path | None, typer.Option(help="A .png or .pdf file, for pictures.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the prior sample.")] = 0,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Change one dim or attribute of a code, keep the rest, and decode: sentences, or a strip of pictures."""
    from seqvae.analysis.traversal import Traversal, regularised_dim, traverse

    vae, move = load_vae(run, device, rate, condition=condition), Traversal(dim, attribute, low, high, steps)
    file = image_output(vae, output)
    if (carrier := regularised_dim(vae, move)) is not None:
        typer.echo(f"dim {carrier} was trained to carry {attribute!r}: only it changes", err=True)
    decoded = vae.decode(traverse(vae, example, move, seed=seed))
    if file is not None:
        from seqvae.plots import interpolation, save

        typer.echo(save(interpolation(decoded[None]), file))
        return
    rows = [{"amount": round(a, 4), "text": t} for a, t in zip(move.amounts.tolist(), decoded, strict=True)]
    if json:
        emit_json(rows)
    else:
        emit_lines(f"{row['amount']:+.2f}  {row['text']}" for row in rows)


COMMANDS = (plot, traverse)
