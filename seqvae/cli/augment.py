"""`seqvae augment`: labelled variants of labelled sentences, and what they gain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seqvae.cli.options import DEVICE, JSON, RATE, RUN, SEED, load_vae, require_text, rows
from seqvae.cli.printing import emit_json
from seqvae.cli.reading import Reading, reads_files, say
from seqvae.cli.terminal import Terminal
from seqvae.errors import UserError

WAYS = "posterior, interpolation, rate"


@reads_files
def augment(
    run: RUN,
    files: Annotated[list[str], typer.Argument(help="Files of labelled sentences.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .jsonl file of variants to write.")],
    per_example: Annotated[int, typer.Option(help="Variants of each sentence at most.", min=1)] = 4,
    ways: Annotated[str, typer.Option(help=f"How: some of {WAYS}.")] = "posterior,interpolation",
    spread: Annotated[float, typer.Option(help="Of posterior draws, in posterior deviations.", min=0)] = 1.5,
    share: Annotated[float, typer.Option(help="Of the way to another of the class.", min=0, max=1)] = 0.4,
    lower: Annotated[float | None, typer.Option("--lower-rate", help="Nats of the way `rate`.")] = None,
    confidence: Annotated[float, typer.Option(help="That a variant has the label.", min=0, max=1)] = 0.7,
    nearest: Annotated[float, typer.Option(help="Least share of words that differ.", min=0, max=1)] = 0.1,
    farthest: Annotated[float, typer.Option(help="Largest share of them.", min=0, max=1)] = 0.8,
    labelled: Annotated[int, typer.Option(help="Sentences that the gain is measured with.", min=20)] = 200,
    seeds: Annotated[int, typer.Option(help="Of the gain; 0 measures none.", min=0)] = 5,
    seed: SEED = 0,
    rate: RATE = None,
    device: DEVICE = "auto",
    json: JSON = False,
    *,
    reading: Reading,
) -> None:
    """Write variants of labelled sentences (--label NAME), and say what a classifier gains by them."""
    from seqvae.analysis.augmentation import Augmentation
    from seqvae.analysis.augmentation import augment as make_variants

    name = _label(reading)
    _check_output(output)
    vae = load_vae(run, device, rate, reading=reading, sources=files)
    require_text(vae, "pictures are varied by their own transformations")
    texts, labels = _labelled(rows(vae, None, files, reading=reading), name)
    chosen = tuple(way.strip() for way in ways.split(","))
    how = Augmentation(per_example, chosen, spread, share, lower, confidence, (nearest, farthest))
    made = make_variants(vae, texts, labels, how, seed)
    _write(output, name, made)
    say(f"{len(made):,} variants of {len(texts):,} sentences: {output}")
    gain = _gain(vae, texts, labels, labelled, how, seeds) if seeds else None
    if json:
        emit_json(
            {"variants": len(made), "gain": gain and {**vars(gain), "gain": gain.gain, "error": gain.error}}
        )
    elif gain:
        _print(gain)


def _gain(vae: Any, texts: list[str], labels: list[Any], labelled: int, how: Any, seeds: int) -> Any:
    from seqvae.analysis.augmentation_gain import measure_gain

    report = Terminal()
    found = measure_gain(vae, texts, labels, labelled, how, seeds, progress=report.advance)
    report.close()
    return found


def _print(gain: Any) -> None:
    typer.echo(
        f"held-out accuracy of {gain.tested:,} sentences, {gain.labelled:,} labelled, "
        f"{gain.variants:,.0f} variants"
    )
    named = {"without": gain.without, "with variants": gain.with_variants, "with copies": gain.copies}
    for name, values in named.items():
        shown = "  ".join(f"{100 * value:.2f}" for value in values)
        typer.echo(f"{name:14} {100 * sum(values) / len(values):6.2f} %   per seed: {shown}")
    typer.echo(gain.verdict)


def _label(reading: Reading) -> str:
    if len(reading.labels) != 1:
        raise UserError("--label NAME (or NAME=COLUMN) says which column holds the classes: give it once")
    return next(iter(reading.labels))


def _check_output(output: Path) -> None:
    if output.exists():
        raise UserError(f"{output} exists: choose another --output")
    if not output.parent.is_dir():
        raise UserError(f"the folder {output.parent} does not exist: make it first")


def _labelled(given: Any, name: str) -> tuple[list[str], list[Any]]:
    """Sentences that have a label, and their labels.

    Raises:
        UserError: none has.
    """
    column = given.columns.get(name, [])
    places = given.places if given.places is not None else range(len(given))
    pairs = [(text, column[place]) for text, place in zip(given.x, places, strict=True) if column]
    kept = [(text, label) for text, label in pairs if label is not None]
    if not kept:
        raise UserError(f"no sentence has a label {name!r}: --label NAME=COLUMN names the column")
    return [text for text, _ in kept], [label for _, label in kept]


def _write(output: Path, name: str, made: list[Any]) -> None:
    from json import dumps

    from seqvae.utils.atomic_files import write_named

    keys = ("source", "way", "confidence", "distance")
    lines = [
        dumps(
            {"text": v.text, name: _as_given(v.label)} | {key: getattr(v, key) for key in keys},
            ensure_ascii=False,
        )
        for v in made
    ]
    write_named(output, lambda p: p.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8"))


def _as_given(label: Any) -> Any:
    """A label as files hold it: whole numbers without a fraction."""
    return int(label) if isinstance(label, float) and label.is_integer() else label


COMMANDS = (augment,)
