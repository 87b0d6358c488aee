"""Options of all commands that read a user's files: which columns, in which encoding and dialect."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import dumps
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
        typer.Option(help="A label, as NAME or NAME=COLUMN; once a label.", rich_help_panel=_HELP),
    ],
    "id_column": Annotated[
        str | None, typer.Option(help="The column that identifies rows.", rich_help_panel=_HELP)
    ],
    "image_column": Annotated[
        str | None, typer.Option(help="The column with the pictures.", rich_help_panel=_HELP)
    ],
    "encoding": Annotated[
        str | None,
        typer.Option(help="As latin-1; by a byte order mark, else UTF-8.", rich_help_panel=_HELP),
    ],
    "delimiter": Annotated[
        str | None, typer.Option(help="Of a table, as ';' or tab; else recognised.", rich_help_panel=_HELP)
    ],
    "quotes": Annotated[
        Literal["double", "backslash", "none"] | None,
        typer.Option(help='In quoted fields: "" or \\", or quotes are text.', rich_help_panel=_HELP),
    ],
    "format": Annotated[
        Literal["lines", "json", "csv", "tsv", "parquet"] | None,
        typer.Option(help="Else by the name, or by the first line.", rich_help_panel=_HELP),
    ],
}
_OF_FILES = ("encoding", "delimiter", "quotes", "format")
SPLITS = ("train", "valid", "test")
_CHANGES = ("text_column", "image_column", *_OF_FILES)  # as config keys


@dataclass(frozen=True)
class Reading:
    """What a command line says about the files that it names."""

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
        """The column of each label that was named."""
        pairs = [word.partition("=") for word in self.label or ()]
        return {name: column or name for name, _, column in pairs}

    @property
    def changes(self) -> dict[str, Any]:
        """What was chosen, by the key of a config's data block."""
        chosen = {key: getattr(self, key) for key in _CHANGES}
        return {key: value for key, value in chosen.items() if value is not None}

    @property
    def overrides(self) -> list[str]:
        """The same as overrides of a config that is to be trained.

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
        """The run for use, whose data block says how the named sources are read.

        The encoding, the dialect and the format of the run's own files are not those of other files.

        Raises:
            UserError: an option that data of the run's kind do not have, or no file that it could be about.
        """
        data = vae.run.config.data
        if all(source in SPLITS for source in sources):
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
    """A command with the options of `Reading`, which it gets as its argument `reading`."""
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
    del reading_command.__wrapped__  # or its own signature would be read
    return reading_command


def say(line: str) -> None:
    """A line on stderr about how a file is read, or what became of its rows."""
    print(line, file=sys.stderr)
