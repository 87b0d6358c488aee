"""`seqvae probe`: linear probes of the code for a label that training did not use."""

from __future__ import annotations

from typing import Annotated

import typer

from seqvae.cli.options import DEVICE, JSON, RATE, RUN, load_vae, parse_numbers
from seqvae.cli.printing import emit_json, emit_lines, format_value
from seqvae.errors import UserError
from seqvae.utils.tables import align_columns

KEYS = ("labels", "measure", "code", "raw", "baseline")


def probe(
    run: RUN,
    label: Annotated[str, typer.Argument(help="A label column of the run's data, trained with it or not.")],
    labels: Annotated[str, typer.Option(help="How many examples have one, as 100,500.")] = "100,500,1000",
    seeds: Annotated[int, typer.Option(help="Draws of the labelled examples.", min=1)] = 3,
    rate: RATE = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Predict a label from few labelled examples by a linear classifier on the code, and on the raw input."""
    from seqvae.analysis.linear_probe import ProbeConfig
    from seqvae.analysis.linear_probe import probe as probed

    rows = probed(load_vae(run, device, rate), label, ProbeConfig(_counts(labels), seeds))
    if json:
        emit_json(rows)
    else:
        emit_lines(align_columns(KEYS, [[format_value(row[key]) for key in KEYS] for row in rows]))


def _counts(written: str) -> list[int]:
    found = parse_numbers(written, "--labels")
    if any(n % 1 for n in found):
        raise UserError(f"--labels got {written!r}: write whole numbers with commas, as 100,500")
    return [int(n) for n in found]


COMMANDS = (probe,)
