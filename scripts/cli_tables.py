"""Every verb with its arguments and options as Markdown, from the signatures that typer reads."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo, ParameterInfo

from seqvae.cli import app
from seqvae.tables import markdown


def format_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """The lines of a table and an empty one."""
    yield from (*markdown(head, list(rows)), "")


def list_verbs() -> Iterator[str]:
    """Every verb with its arguments and options, from the signatures that typer reads."""
    verbs = {str(command.name): command.callback for command in app.registered_commands}
    index = ((f"[`{name}`](#seqvae-{name})", paragraphs(made)[0]) for name, made in verbs.items())
    yield from format_table(("verb", "what it does"), index)
    for name, made in verbs.items():
        yield from (f"## seqvae {name}", "")
        for paragraph in paragraphs(made):
            yield from (paragraph, "")
        parameters = list(_parameters(made))
        for kind, head in (("argument", ("type", "meaning")), ("option", ("type", "default", "meaning"))):
            if rows := [row for each, row in parameters if each == kind]:
                yield from format_table((kind, *head), rows)


def paragraphs(made: Any) -> list[str]:
    """Those of a docstring, each on one line."""
    return [" ".join(part.split()) for part in inspect.cleandoc(made.__doc__).split("\n\n")]


def _parameters(made: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Kind (argument or option) and row of each parameter of a verb."""
    for name, hint in get_type_hints(made, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        kind, info = get_args(hint)[:2]
        default = inspect.signature(made).parameters[name].default
        required = default is inspect.Parameter.empty
        if isinstance(info, ArgumentInfo):
            shown = name.upper() if required else f"[{name.upper()}]"
            yield "argument", (f"`{shown}`", _describe_type(kind, info), info.help or "")
        elif isinstance(info, OptionInfo):
            value = "required" if required else "" if default in (None, "", False) else f"`{default}`"
            shown = " ".join(f"`{each}`" for each in _option_names(name, kind, info))
            yield "option", (shown, _describe_type(kind, info), value, info.help or "")


def _option_names(name: str, kind: Any, info: OptionInfo) -> list[str]:
    """How an option is written; inside Annotated, typer takes the first of its names as `default`."""
    own = [each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)]
    dashed = name.replace("_", "-")
    return own or ([f"--{dashed}", f"--no-{dashed}"] if kind is bool else [f"--{dashed}"])


def _describe_type(kind: Any, info: ParameterInfo) -> str:
    """A type in words, with its bound."""
    parts = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if parts:
        return _describe_type(parts[0], info) + (", repeatable" if get_origin(kind) is list else "")
    words = {"str": "text", "Path": "path", "int": "integer", "float": "number", "bool": ""}
    return f"{words[kind.__name__]}{'' if info.min is None else f' ≥ {info.min:g}'}"
