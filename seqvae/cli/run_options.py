"""Options of all commands that load a run: the maximum length, and the path of a moved corpus."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from seqvae.errors import UserError

_HELP = "The run"
_OPTIONS: dict[str, Any] = {
    "max_tokens": Annotated[
        int | None,
        typer.Option(
            help="Tokens read per sentence; as in training by default.", min=1, rich_help_panel=_HELP
        ),
    ],
    "corpus": Annotated[
        str | None,
        typer.Option(help="Path of a moved corpus: the file, or its folder.", rich_help_panel=_HELP),
    ],
}


@dataclass(frozen=True)
class RunOptions:
    """The run options of one command line."""

    max_tokens: int | None = None
    corpus: str | None = None

    def apply(self, vae: Any) -> Any:
        """A copy of `vae` with these options.

        Raises:
            UserError: tokens of a run that reads pictures, or a corpus that is not there.
        """
        if self.max_tokens is not None and vae.modality != "text":
            raise UserError(f"--max-tokens is for text, {vae.run.path} holds a model of {vae.modality}s")
        vae = vae if self.max_tokens is None else vae.with_max_tokens(self.max_tokens)
        return vae if self.corpus is None else vae.with_corpus(self.corpus)


_ASKED: ContextVar[RunOptions | None] = ContextVar("run options", default=None)


def apply_run_options(vae: Any) -> Any:
    """A copy of `vae` with the run options of the command that is running.

    Raises:
        UserError: as `RunOptions.apply`.
    """
    asked = _ASKED.get()
    return vae if asked is None else asked.apply(vae)


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `RunOptions` to a command whose first argument is RUN; see `apply_run_options`."""
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())
    if own[:1] == [] or own[0].name != "run":
        return command
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def run_command(**given: Any) -> None:
        token = _ASKED.set(RunOptions(**{name: given.pop(name) for name in _OPTIONS}))
        try:
            command(**given)
        finally:
            _ASKED.reset(token)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
    vars(run_command)["__signature__"] = inspect.Signature(parameters)
    run_command.__annotations__ = {p.name: p.annotation for p in parameters}
    del run_command.__wrapped__  # typer would follow it to the signature without the options
    return run_command
