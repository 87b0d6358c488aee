"""What commands have in common: options, and the run, the labels and the examples that these name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.errors import UserError

if TYPE_CHECKING:
    from seqvae.inference.inputs import Inputs

RUN = Annotated[str, typer.Argument(help="A run folder.", show_default=False)]
DEVICE = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PRIOR = Annotated[str | None, typer.Option(help="A prior of the run's, as `fit-prior` named it.")]
RATE = Annotated[
    float | None, typer.Option(help="Nats a code has, where the run was trained for a range of them.")
]
CONDITION = Annotated[
    list[str] | None, typer.Option(help="LABEL=VALUE, for runs that are told labels; once a label.")
]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
SEED = Annotated[int, typer.Option(help="The same seed draws the same sentences.")]
TEXTS = Annotated[list[str] | None, typer.Argument(help="Sentences.", show_default=False)]
GIVEN = Annotated[list[str] | None, typer.Argument(help="Sentences, or picture files.", show_default=False)]
INPUT = Annotated[str | None, typer.Option("--input", help="A file of sentences; - is standard input.")]


def load_vae(
    run: str,
    device: str,
    rate: float | None = None,
    prior: str | None = None,
    condition: list[str] | None = None,
) -> Any:
    """The run for use, at the rate and told the labels that were asked for."""
    from seqvae.inference import load

    return load(run, device, prior).with_defaults(rate, parse_labels(condition) if condition else None)


def require_text(vae: Any, instead: str) -> None:
    """Refuse a run that writes no sentences.

    Raises:
        UserError: such a run.
    """
    if vae.modality != "text":
        raise UserError(f"{vae.run.path} is a model of {vae.modality}s, which has no sentences: {instead}")


def image_output(vae: Any, output: Path | None) -> Path | None:
    """The file that pictures go into; None where a run writes lines.

    Raises:
        UserError: pictures and no file for them, or lines and a file.
    """
    from seqvae.build import modality_of

    wing = modality_of(vae.run.config)
    if wing.is_image and output is None:
        raise UserError(f"{vae.run.path} holds {wing.examples}: say where to with --output FILE.png")
    if output is not None and not wing.is_image:
        raise UserError(f"{vae.run.path} writes {wing.examples}, which are printed: leave out --output")
    return output


def parse_labels(condition: list[str]) -> dict[str, str]:
    """Labels as people write them, LABEL=VALUE, by name.

    Raises:
        UserError: something else, or a label that is there twice.
    """
    found: dict[str, str] = {}
    for word in condition:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UserError(f"--condition got {word!r}: write LABEL=VALUE, for example tense=past")
        if name in found:
            raise UserError(f"--condition got {name!r} twice: keep one")
        found[name] = value
    return found


def parse_numbers(written: str, option: str = "--rates") -> list[float]:
    """Numbers as people write them, 2,4,8; at least one.

    Raises:
        UserError: something else, or a number that is not finite.
    """
    with suppress(ValueError):
        found = [float(word) for word in written.split(",")]
        if all(map(isfinite, found)):
            return found
    raise UserError(f"{option} got {written!r}: write numbers with commas, as 2,4,8")


def read_sentences(vae: Any, texts: list[str] | None, source: str | None) -> list[str]:
    """Sentences from the command line, or from a file as the run's own data were read.

    Raises:
        UserError: both or neither are given, or the file cannot be read or holds none.
    """
    if bool(texts) == (source is not None):
        raise UserError("give sentences as arguments or --input FILE, one of the two")
    if texts:
        return texts
    assert source is not None
    found = list(_read(source, vae.config.data.text_column))
    if not found:
        raise UserError(f"--input {source} holds no sentence: give at least one a line")
    return found


def read_examples(
    vae: Any, given: list[str] | None, source: str | None, data: str | None, n: int | None
) -> Inputs:
    """The first `n` examples that the command line names: by themselves, in a file or as data.

    Raises:
        UserError: not one of the three, or it cannot be read.
    """
    from seqvae.build import modality_of
    from seqvae.inference.inputs import Inputs, load_inputs

    if data is not None:
        if given or source:
            raise UserError(f"--data {data} names all that is asked about: leave the rest out")
        return load_inputs(vae, data, n)
    wing = modality_of(vae.run.config)
    if bool(given) == (source is not None):
        raise UserError(f"give {wing.examples} as arguments, --input FILE or --data NAME, one of the three")
    if source is not None:
        return read_example_file(vae, source, n)
    return Inputs(wing.read_examples(vae.run.codec, (given or [])[:n]))


def read_example_file(vae: Any, source: str, n: int | None = None) -> Inputs:
    """The first `n` examples in a file: lines as they stand there, or pictures.

    Raises:
        UserError: it cannot be read, or holds none.
    """
    from seqvae.build import modality_of
    from seqvae.inference.inputs import Inputs, load_inputs

    if modality_of(vae.run.config).is_image:
        return load_inputs(vae, source, n)
    return Inputs(read_sentences(vae, None, source)[:n])


def _read(source: str, column: str) -> Iterator[str]:
    if source == "-":
        return (line.strip() for line in sys.stdin if line.strip())
    from seqvae.data.text.corpus import read_corpus

    return (example.text for example in read_corpus(source, text_column=column) if example.text)
