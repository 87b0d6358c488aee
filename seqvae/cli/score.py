"""`seqvae score`: the negative log-likelihood of each sentence or picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.options import (
    CONDITION,
    DATA,
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
from seqvae.cli.printing import emit_json, emit_lines, escape_controls
from seqvae.cli.reading import Reading, reads_files
from seqvae.cli.terminal import Terminal
from seqvae.utils.tables import align_columns

if TYPE_CHECKING:
    from seqvae.evaluation.score import ExampleScore

HEAD = ("iw_nll", "per unit", "rate", "distortion")  # a unit: a token of text, or a whole picture


@reads_files
def score(
    run: RUN,
    given: GIVEN = None,
    input_: INPUT = None,
    data: DATA = None,
    examples: Annotated[int | None, typer.Option(help="Only the first N examples.", min=1)] = None,
    samples: Annotated[int, typer.Option(help="K of IW-NLL; the bound tightens with K.", min=1)] = 20,
    sort: Annotated[bool, typer.Option("--sort", help="The least likely per token first.")] = False,
    seed: SEED = 0,
    rate: RATE = None,
    prior: PRIOR = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    *,
    reading: Reading,
) -> None:
    """Print the negative log-likelihood of each sentence or picture, in nats: unusual ones have many."""
    from seqvae.build import modality_of
    from seqvae.distributed.collectives import distributed_session, is_main
    from seqvae.utils.device import pick_device

    with distributed_session(pick_device(device)):
        vae = load_vae(run, device, rate, prior, condition, reading, data or input_)
        report, shown = Terminal(), read_examples(vae, given, input_, data, examples, reading)
        scores = vae.score(shown.x, samples, seed, condition=shown.condition, progress=report.advance)
        report.close()
        pairs = zip(shown.spread(shown.names, ""), shown.spread(scores), strict=True)
        found = [(name, score, known) for (name, score), known in zip(pairs, shown.identified, strict=True)]
        if sort:
            found.sort(key=lambda row: 0.0 if row[1] is None else -_per_unit(row[1]))
        if is_main():
            _print(found, json, modality_of(vae.run.config).column)


def _print(found: list[tuple[str, ExampleScore | None, dict[str, Any]]], json: bool, column: str) -> None:
    if json:
        from seqvae.evaluation.score import ExampleScore

        none = dict.fromkeys(ExampleScore.__dataclass_fields__)
        emit_json([{**known, column: name, **(none if s is None else vars(s))} for name, s, known in found])
        return
    some = any(score is not None and score.unknown for _, score, _ in found)
    head = (*HEAD, "unknown") if some else HEAD
    rows = [(*_row(score, some), escape_controls(name)) for name, score, _ in found]
    emit_lines(align_columns((*head, column), rows))


def _per_unit(score: ExampleScore) -> float:
    return (score.distortion if score.iw_nll is None else score.iw_nll) / score.units


def _row(score: ExampleScore | None, unknown: bool) -> tuple[str, ...]:
    if score is None:  # a row without an example
        return ("-",) * (len(HEAD) + unknown)
    numbers: tuple[Any, ...] = (score.iw_nll, _per_unit(score), score.rate, score.distortion)
    shown = tuple("-" if number is None else f"{number:.2f}" for number in numbers)
    return (*shown, str(score.unknown)) if unknown else shown


COMMANDS = (score,)
