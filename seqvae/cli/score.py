"""`seqvae score`: how likely each sentence or picture is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.options import (
    CONDITION,
    DEVICE,
    GIVEN,
    INPUT,
    JSON,
    PRIOR,
    RATE,
    RUN,
    SEED,
    load_vae,
    read_examples,
)
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.cli.terminal import Terminal
from seqvae.utils.tables import align_columns

if TYPE_CHECKING:
    from seqvae.evaluation.score import ExampleScore

HEAD = ("iw_nll", "per unit", "rate", "distortion")  # a unit is a token, or a picture


def score(
    run: RUN,
    given: GIVEN = None,
    input_: INPUT = None,
    data: Annotated[str | None, typer.Option(help="train, valid, test or a file, for all in it.")] = None,
    examples: Annotated[int | None, typer.Option(help="Only the first so many.", min=1)] = None,
    samples: Annotated[int, typer.Option(help="K of IW-NLL, the more the tighter.", min=1)] = 20,
    sort: Annotated[bool, typer.Option("--sort", help="The least likely per token first.")] = False,
    seed: SEED = 0,
    rate: RATE = None,
    prior: PRIOR = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Say how likely each sentence or picture is, in nats: what is odd has many."""
    from seqvae.build import modality_of
    from seqvae.distributed.collectives import distributed_session, is_main
    from seqvae.utils.device import pick_device

    with distributed_session(pick_device(device)):
        vae = load_vae(run, device, rate, prior, condition)
        report, shown = Terminal(), read_examples(vae, given, input_, data, examples)
        scores = vae.score(shown.x, samples, seed, condition=shown.condition, progress=report.advance)
        report.close()
        found = list(zip(shown.names, scores, strict=True))
        if sort:
            found.sort(key=lambda pair: -_per_unit(pair[1]))
        if is_main():
            _tell(found, json, modality_of(vae.run.config).column)


def _tell(found: list[tuple[str, ExampleScore]], json: bool, column: str) -> None:
    if json:
        emit_json([{column: name, **vars(score)} for name, score in found])
        return
    emit_lines(align_columns((*HEAD, column), [(*_row(score), name) for name, score in found]))


def _per_unit(score: ExampleScore) -> float:
    return (score.distortion if score.iw_nll is None else score.iw_nll) / score.units


def _row(score: ExampleScore) -> tuple[str, ...]:
    numbers: tuple[Any, ...] = (score.iw_nll, _per_unit(score), score.rate, score.distortion)
    return tuple("-" if number is None else f"{number:.2f}" for number in numbers)


COMMANDS = (score,)
