"""Options that commands share, and loading the run, the labels and the examples that they name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.reading import SPLITS, Reading, say
from seqvae.cli.run_options import apply_run_options
from seqvae.errors import UserError

if TYPE_CHECKING:
    from seqvae.inference.inputs import Inputs

RUN = Annotated[str, typer.Argument(help="A run folder.", show_default=False)]
DEVICE = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PRIOR = Annotated[str | None, typer.Option(help="A prior of the run, by its `fit-prior` name, or trained.")]
RATE = Annotated[float | None, typer.Option(help="Nats per code, for runs trained over a range of rates.")]
CONDITION = Annotated[
    list[str] | None, typer.Option(help="LABEL=VALUE, for conditional runs; once per label.")
]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
PRINT0 = Annotated[
    bool, typer.Option("--print0", help="Only the texts, as they are, each ended by a null character.")
]
SEED = Annotated[int, typer.Option(help="The same seed gives the same result.")]
TEXTS = Annotated[list[str] | None, typer.Argument(help="Sentences.", show_default=False)]
GIVEN = Annotated[list[str] | None, typer.Argument(help="Sentences, or picture files.", show_default=False)]
VECTORS = Annotated[
    Path | None, typer.Option(help="Vectors, one per row, for runs with encoder vectors: .npy or .parquet.")
]
INPUT = Annotated[
    list[str] | None,
    typer.Option("--input", help="A file, folder or glob; - is standard input; may be given several times."),
]
DATA = Annotated[
    list[str] | None,
    typer.Option("--data", help="train, valid, test or files, for all in it; may be given several times."),
]


def load_vae(
    run: str,
    device: str,
    rate: float | None = None,
    prior: str | None = None,
    condition: list[str] | None = None,
    reading: Reading | None = None,
    sources: Sequence[str] | None = None,
) -> Any:
    """Load a run, with the rate, prior, labels and reading options of the command line as its defaults."""
    from seqvae.inference import load

    vae: Any = apply_run_options(load(run, device, prior))
    vae = vae if reading is None else reading.apply(vae, sources or ())
    names = [] if vae.vae.labels is None else [label.name for label in vae.vae.labels.specs]
    return vae.with_defaults(rate, parse_labels(condition, names) if condition else None)


def require_text(vae: Any, instead: str) -> None:
    """Reject a run that does not generate text.

    Raises:
        UserError: the run is not a text run.
    """
    if vae.modality != "text":
        raise UserError(f"{vae.run.path} is a model of {vae.modality}s, which has no sentences: {instead}")


def image_output(vae: Any, output: Path | None) -> Path | None:
    """The file that pictures go into; None for a run of text.

    Raises:
        UserError: pictures and no file for them, or lines and a file.
    """
    from seqvae.build import modality_of

    modality = modality_of(vae.run.config)
    if modality.is_image and output is None:
        raise UserError(f"{vae.run.path} holds {modality.examples}: say where to with --output FILE.png")
    if output is not None and not modality.is_image:
        raise UserError(f"{vae.run.path} writes {modality.examples}, which are printed: leave out --output")
    return output


def parse_labels(condition: list[str], known: Sequence[str] = ()) -> dict[str, str]:
    """Parse `LABEL=VALUE` words into values by label name; a known label name may contain `=`.

    Raises:
        UserError: a word in another form, or a label given twice.
    """
    found: dict[str, str] = {}
    for word in condition:
        begun = [name for name in known if word.startswith(f"{name}=")]
        name = max(begun, key=len, default=word.partition("=")[0])
        equals, value = word[len(name) : len(name) + 1], word[len(name) + 1 :]
        if not (name and equals) or not (value or begun):
            raise UserError(f"--condition got {word!r}: write LABEL=VALUE, for example tense=past")
        if name in found:
            raise UserError(f"--condition got {name!r} twice: keep one")
        found[name] = value
    return found


def parse_numbers(written: str, option: str = "--rates") -> list[float]:
    """Parse a comma-separated list of numbers, such as 2,4,8; at least one.

    Raises:
        UserError: the text is not such a list, or a number is not finite.
    """
    with suppress(ValueError):
        found = [float(word) for word in written.split(",")]
        if all(map(isfinite, found)):
            return found
    raise UserError(f"{option} got {written!r}: write numbers with commas, as 2,4,8")


def rows(
    vae: Any,
    given: list[str] | None,
    source: list[str] | None,
    n: int | None = None,
    reading: Reading | None = None,
) -> Inputs:
    """Read the first `n` examples that the command line names: as arguments, or in files.

    Raises:
        UserError: both or neither are given, or a file cannot be read or holds no example.
    """
    from seqvae.build import modality_of
    from seqvae.inference.inputs import Inputs, examples_in

    modality = modality_of(vae.run.config)
    if bool(given) == bool(source):
        raise UserError(f"give {modality.examples} as arguments or --input FILE, one of the two")
    if given:
        return Inputs(modality.read_examples(vae.run.codec, given[:n]))
    assert source is not None
    found = examples_in(vae, source, n, reading.id_column if reading else None, say)
    if found.left_out:
        what = "broken" if modality.is_image else "without a text"
        say(f"{found.left_out:,} of {found.total:,} rows are {what}: they keep their place, without a result")
    return found


def given_vectors(vae: Any, file: Path | None) -> Any:
    """Read the vectors (N, W) in a file, for a run that encodes vectors.

    Raises:
        UserError: the run does not encode vectors, or the file cannot be read or holds other vectors.
    """
    from seqvae.data.text.vectors import read_vectors

    assert file is not None
    if vae.modality != "text" or not vae.reads_vectors:
        raise UserError(f"--vectors {file}: {vae.run.path} was not trained on vectors (encoder: vectors)")
    return read_vectors(file, vae.config.data.vector_column)


def read_examples(
    vae: Any,
    given: list[str] | None,
    source: list[str] | None,
    data: list[str] | None,
    n: int | None,
    reading: Reading | None = None,
) -> Inputs:
    """Read the first `n` examples that the command line names: as arguments, in files or as a split.

    Raises:
        UserError: not exactly one of the three is given, or it cannot be read.
    """
    from seqvae.build import modality_of
    from seqvae.inference.inputs import load_inputs

    if data:
        if given or source:
            raise UserError(
                f"--data {' '.join(data)} names all examples: leave out the arguments and --input"
            )
        if len(data) == 1 and data[0] in SPLITS and not Path(data[0]).exists():
            return load_inputs(vae, data[0], n)
        return rows(vae, None, data, n, reading)
    if bool(given) == bool(source):
        examples = modality_of(vae.run.config).examples
        raise UserError(f"give {examples} as arguments, --input FILE or --data NAME, one of the three")
    return rows(vae, given, source, n, reading)


def only(sources: list[str]) -> str | list[str]:
    """The source itself if there is one, else the list."""
    return sources[0] if len(sources) == 1 else sources
