"""Look up a class by its config name and construct it from config arguments; errors list valid names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from seqvae.errors import UserError, suggest

T = TypeVar("T")


def lookup(kind: str, table: Mapping[str, T], name: str) -> T:
    """`table[name]`.

    Raises:
        UserError: no such name; the message lists the valid ones.
    """
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}: {suggest(name, table)}")
    return table[name]


def construct(kind: str, table: Mapping[str, Callable[..., T]], spec: Any, **provided: Any) -> T:
    """Construct the object that `spec` (a config block with a name and arguments) describes.

    The arguments are checked and coerced against the class's own signature; `provided` are those that
    the build knows (sizes, vocabularies) and a config may not set.

    Raises:
        UserError: unknown name or argument, missing argument, or a value of the wrong type.
    """
    made = lookup(kind, table, spec.name)
    accepted = _parameters(made)
    given = {k: v for k, v in provided.items() if k in accepted}
    open_names = accepted.keys() - given.keys()
    hints = _type_hints(made)
    arguments: dict[str, Any] = {}
    for key, value in spec.arguments.items():
        where = f"{kind} {spec.name!r}"
        if key not in open_names:
            raise UserError(f"{where} takes no argument {key!r}: {suggest(key, open_names)}")
        arguments[key] = _coerce(f"{where}, argument {key!r}", value, hints.get(key, Any))
    missing = [k for k in open_names - arguments.keys() if accepted[k].default is inspect.Parameter.empty]
    if missing:
        raise UserError(f"{kind} {spec.name!r} needs {', '.join(sorted(missing))}: add it to the config")
    try:
        return made(**given, **arguments)
    except UserError as error:
        raise UserError(f"{kind} {spec.name!r}: {error}") from None


def _parameters(made: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    named = inspect.signature(made).parameters.items()
    return {k: p for k, p in named if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _type_hints(made: Callable[..., Any]) -> dict[str, Any]:
    # with extras, or the bounds that Annotated[..., Field(gt=0)] states would not be checked
    return get_type_hints(made.__init__ if inspect.isclass(made) else made, include_extras=True)


def _coerce(where: str, value: Any, hint: Any) -> Any:
    try:
        settings = None if is_dataclass(hint) else ConfigDict(allow_inf_nan=False)  # dataclasses have theirs
        found = TypeAdapter(hint, config=settings).validate_python(value)
        if isinstance(found, int) and abs(found) >= 2**31:
            raise UserError(f"{where} got {value!r}: give a number below {2**31}")
        return found
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise UserError(f"{where} got {value!r}: {problem}") from None


def describe(table: Mapping[str, Any], provided: Iterable[str] = ()) -> list[dict[str, Any]]:
    """One row per entry of a table: name, arguments that a config may set, year and paper.

    `provided` are arguments that the build fills in and a config may not set.
    """
    rows = []
    for name, made in table.items():
        arguments = _parameters(made) if callable(made) else {}
        shown = ", ".join(_argument(p) for k, p in arguments.items() if k not in set(provided))
        year, paper = getattr(made, "year", 0), getattr(made, "paper", "")
        rows.append({"name": name, "arguments": shown, "year": year or "", "paper": paper})
    return rows


def _argument(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return parameter.name
    return f"{parameter.name}={parameter.default}"
