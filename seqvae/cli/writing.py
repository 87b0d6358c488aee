"""Options of all commands that write sentences: what they must be, and what is never written."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.printing import emit_json
from seqvae.cli.reading import say
from seqvae.errors import UserError

if TYPE_CHECKING:
    from seqvae.inference.constraint import Constraint
    from seqvae.models.text.decoding import GenerationConfig

_HELP = "Writing sentences"
_RULE = "What sentences must be: a regular expression, grammar:FILE.lark or python:module.function."
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "constraint": (str | None, typer.Option(help=_RULE, rich_help_panel=_HELP)),
    "filter": (
        bool,
        typer.Option(
            "--filter",
            help="Draw and discard, also where decoding could follow the constraint.",
            rich_help_panel=_HELP,
        ),
    ),
    "tries": (
        int | None,
        typer.Option(help="Draws of a sentence until one is valid; 20.", min=1, rich_help_panel=_HELP),
    ),
    "unknown": (
        bool,
        typer.Option("--unknown", help="The unknown token may be written.", rich_help_panel=_HELP),
    ),
    "repeats": (
        int | None,
        typer.Option(
            help="Times that 4 tokens in a row may occur in a sentence; as in training text, 0 for any.",
            min=0,
            rich_help_panel=_HELP,
        ),
    ),
}


@dataclass(frozen=True)
class Writing:
    """What a command line says about the sentences that it wants."""

    rule: Constraint | None = None
    unknown: bool = False
    repeats: int | None = None

    @classmethod
    def of(
        cls, constraint: str | None, filter: bool, tries: int | None, unknown: bool, repeats: int | None
    ) -> Writing:
        """From the options.

        Raises:
            UserError: a constraint that cannot be read, or an option that needs one.
        """
        if constraint is None:
            if filter or tries is not None:
                option = "--filter" if filter else "--tries"
                raise UserError(f"{option} is about a constraint: give --constraint too")
            return cls(None, unknown, repeats)
        from seqvae.inference.constraint import TRIES, Constraint

        return cls(Constraint(constraint, filter, TRIES if tries is None else tries), unknown, repeats)

    @property
    def given(self) -> bool:
        """Whether any of the options was given."""
        return self != Writing()

    def how(self, vae: Any, max_length: int | None = None, **values: Any) -> GenerationConfig:
        """How sentences are written: the defaults of Python, where an option is None."""
        from seqvae.models.text.decoding import GenerationConfig

        length = vae.config.data.max_tokens if max_length is None else max_length
        given = {name: value for name, value in values.items() if value is not None}
        unknown = True if self.unknown else None
        return GenerationConfig(max_length=length, unknown=unknown, repeats=self.repeats, **given)

    def missing(self, text: str) -> bool:
        """Whether an empty text says that no draw was valid."""
        from seqvae.inference.constraint import NO_TEXT

        return text is NO_TEXT

    def shown(self, text: str) -> str | None:
        """A text, or None for one that is missing."""
        return None if self.missing(text) else text

    def emit_json(self, found: Any) -> None:
        """One JSON document: what was found, under `results` beside the report of a constraint."""
        emit_json(found if self.rule is None else {"constraint": self.rule.report, "results": found})

    def said(self, wanted: int, missing: int) -> None:
        """On stderr: how many of the drawn texts were valid, and for how many sentences none was."""
        if self.rule is None or not self.rule.tried:
            return
        report = self.rule.report
        share = f"{report['kept']:,} of {report['tried']:,} drawn sentences match ({report['share']:.1%})"
        line = "constrained while decoding" if self.rule.follows else "filtered"
        say(f"{line}: {share}")
        if missing:
            say(
                f"{missing:,} of {wanted:,} sentences had no valid draw in {self.rule.tries}: "
                "--tries asks for more"
            )


def writes_sentences(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `Writing`, which it gets as its argument `writing`."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "writing"]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if kind is bool else None,
            annotation=Annotated[kind, option],
        )
        for name, (kind, option) in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def writing_command(**given: Any) -> None:
        writing = Writing.of(**{name: given.pop(name) for name in _OPTIONS})
        command(**given, writing=writing)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
    vars(writing_command)["__signature__"] = inspect.Signature(parameters)
    writing_command.__annotations__ = {p.name: p.annotation for p in parameters}
    del writing_command.__wrapped__  # or its own signature would be read
    return writing_command
