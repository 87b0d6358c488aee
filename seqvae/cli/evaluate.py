"""`seqvae evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from seqvae.cli.options import CONDITION, DEVICE, JSON, PRIOR, RATE, RUN, load_vae, only
from seqvae.cli.printing import emit_json, emit_lines, format_value
from seqvae.cli.reading import Reading, reads_files
from seqvae.cli.terminal import Terminal
from seqvae.utils.reporter import Silent
from seqvae.utils.tables import align_columns, markdown_table


@reads_files
def evaluate(
    run: RUN,
    data: Annotated[
        list[str] | None, typer.Option(help="Files; the run's own test split by default.")
    ] = None,
    samples: Annotated[int, typer.Option(help="K of IW-NLL; papers use 500.")] = 20,
    precision: Annotated[Literal["fp32", "bf16", "auto"], typer.Option(help="bf16 is faster.")] = "fp32",
    examples: Annotated[int | None, typer.Option(help="Only the first N examples.", min=1)] = None,
    refine: Annotated[int, typer.Option(help="SVI steps: adds the amortisation gap.", min=0)] = 0,
    draws: Annotated[int, typer.Option(help="Prior samples written; 0 leaves them out.", min=0)] = 1000,
    factors: Annotated[bool, typer.Option("--factors", help="Adds MIG, DCI, SAP ... over labels.")] = False,
    rate: RATE = None,
    prior: PRIOR = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="One row of a Markdown table.")] = False,
    *,
    reading: Reading,
) -> None:
    """Measure a run: NLL, rate, MI, active units, reconstruction, and whether the decoder uses the code."""
    from seqvae.distributed.collectives import distributed_session, is_main
    from seqvae.utils.device import pick_device

    with distributed_session(pick_device(device)):
        first = is_main()
        report = Terminal() if first else Silent()
        vae = load_vae(run, device, rate, prior, condition, reading, data)
        result = vae.evaluate(
            only(data) if data else None,
            samples,
            report.advance,
            precision=precision,
            examples=examples,
            refine=refine,
            factors=factors,
            draws=draws,
        )
        report.close()
    if not first:
        return
    from seqvae.analysis.doctor.quick import first_line

    typer.echo(first_line(vae.run, result), err=True)
    if json:
        emit_json(result)
    elif markdown:
        from seqvae.evaluation.metrics.keys import HEADLINE, headline_cells, label_of

        head = ["model", *map(label_of, HEADLINE)]
        emit_lines(markdown_table(head, [[run, *headline_cells(result)]]))
    else:
        cautions = result.pop("cautions", [])
        emit_lines(align_columns(("measure", "value"), [(k, format_value(v)) for k, v in result.items()]))
        for line in cautions:
            typer.echo(line, err=True)


COMMANDS = (evaluate,)
