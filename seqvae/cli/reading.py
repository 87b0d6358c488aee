"""Options of all commands that read a user's files: columns, encoding, delimiter, quotes and format."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from seqvae.errors import UserError

_HELP = "Reading files"
_OPTIONS: dict[str, Any] = {
    "text_column": Annotated[
        str | None, typer.Option(help="The column with the texts.", rich_help_panel=_HELP)
    ],
    "label": Annotated[
        list[str] | None,
        typer.Option(help="A label, as NAME or NAME=COLUMN; once per label.", rich_help_panel=_HELP),
    ],
    "id_column": Annotated[
        str | None, typer.Option(help="The column that identifies rows.", rich_help_panel=_HELP)
    ],
    "image_column": Annotated[
        str | None, typer.Option(help="The column with the pictures.", rich_help_panel=_HELP)
    ],
    "encoding": Annotated[
        str | None,
        typer.Option(
            help="As latin-1; by default a byte order mark decides, else UTF-8.", rich_help_panel=_HELP
        ),
    ],
    "delimiter": Annotated[
        str | None,
        typer.Option(help="Of a table, as ';' or tab; detected by default.", rich_help_panel=_HELP),
    ],
    "quotes": Annotated[
        Literal["double", "backslash", "none"] | None,
        typer.Option(help='In quoted fields: "" or \\", or quotes are text.', rich_help_panel=_HELP),
    ],
    "format": Annotated[
        Literal["lines", "paragraphs", "sentences", "fasta", "smiles", "json", "csv", "tsv", "parquet"]
        | None,
        typer.Option(help="By default the file name decides, or the first line.", rich_help_panel=_HELP),
    ],
}
_OF_FILES = ("encoding", "delimiter", "quotes", "format")
SPLITS = ("train", "valid", "test")
_CHANGES = ("text_column", "image_column", *_OF_FILES)  # keys of a config's data block


@dataclass(frozen=True)
class Reading:
    """The reading options of one command line."""

    text_column: str | None = None
    label: list[str] | None = None
    id_column: str | None = None
    image_column: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quotes: str | None = None
    format: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Column by label name, for the labels given."""
        pairs = [word.partition("=") for word in self.label or ()]
        return {name: column or name for name, _, column in pairs}

    @property
    def changes(self) -> dict[str, Any]:
        """The options given, by their key in a config's data block."""
        chosen = {key: getattr(self, key) for key in _CHANGES}
        return {key: value for key, value in chosen.items() if value is not None}

    @property
    def overrides(self) -> list[str]:
        """The options given, as `--set` overrides of a training config.

        Raises:
            UserError: an option that training has no use for.
        """
        if self.id_column is not None:
            raise UserError(
                "--id-column says which row is which where rows are written: training writes none"
            )
        found = [f"data.{key}={dumps(value)}" for key, value in self.changes.items()]
        if self.labels:
            others = {name: column for name, column in self.labels.items() if name != column}
            found += [f"data.labels={dumps(list(self.labels))}"]
            found += [f"data.label_columns={dumps(others)}"] if others else []
        return found

    def apply(self, vae: Any, sources: Sequence[str]) -> Any:
        """A copy of `vae` whose data block says how the named sources are read.

        Encoding, delimiter, quotes and format of the training files do not carry over to other files.

        Raises:
            UserError: an option that this modality does not have, or options but no file to read.
        """
        data = vae.run.config.data
        if all(source in SPLITS and not Path(source).exists() for source in sources):
            self._refuse()
            return vae
        for key in self.changes:
            if key not in type(data).model_fields:
                option = f"--{key.replace('_', '-')}"
                raise UserError(f"{option} does not apply to {vae.run.config.modality} runs: leave it out")
        labels = list(dict.fromkeys([*data.labels, *self.labels]))
        columns = data.label_columns | self.labels
        own = {key: None for key in _OF_FILES if key in type(data).model_fields}
        return vae.with_data(**own | self.changes, labels=labels, label_columns=columns)

    def _refuse(self) -> None:
        named = [name for name in _OPTIONS if getattr(self, name) is not None]
        if named:
            option = f"--{named[0].replace('_', '-')}"
            raise UserError(f"{option} says how a file is read, and none is named: leave it out")


def reads_files(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `Reading` to a command, which gets them as its argument `reading`."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "reading"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def reading_command(**given: Any) -> None:
        reading = Reading(**{name: given.pop(name) for name in _OPTIONS})
        command(**given, reading=reading)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
    vars(reading_command)["__signature__"] = inspect.Signature(parameters)
    reading_command.__annotations__ = {p.name: p.annotation for p in parameters}
    del reading_command.__wrapped__  # typer would follow it to the signature without the options
    return reading_command


def say(line: str) -> None:
    """Print a note on stderr."""
    print(line, file=sys.stderr)
