"""`--set key.path=value`: overrides of a nested config, applied before validation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from seqvae.config.yaml_files import parse_yaml
from seqvae.errors import UserError

_STEP = re.compile(r'"([^"]*)"|([^".=]*)')


def apply_override(values: dict[str, Any], override: str, model: type[BaseModel] | None = None) -> None:
    """Set `a.b=c`, or `remedies.0.rate=c`, in nested values; a key with a dot in it is quoted, `a."b.c"=d`.

    c is YAML; if `model` declares the value as a string, or a list or mapping of strings, these are taken
    verbatim: `data.text_column=no`, `=#text` and `=Review: text` name such columns. A new `name` empties
    its block first: another class takes other arguments.

    Raises:
        UserError: another form, an index outside of a list, or not YAML.
    """
    keys, text = _split(override)
    *parents, last = keys
    block: Any = values
    for key in parents:
        block = _enter(block, key, override)
    try:
        value = _value(text, None if model is None else type_at(model, keys))
    except yaml.YAMLError:
        raise UserError(f"--set {override!r}: {text!r} is not a YAML value") from None
    if isinstance(block, list):
        block[_position(block, last, override)] = value
    elif last == "name" and parents != ["data"] and block.get("name") not in (None, value):
        block.clear()
        block["name"] = value
    else:
        block[_key(block, last)] = value


def _split(override: str) -> tuple[list[str], str]:
    """The keys of the path, and the text after the `=`."""
    keys, at = [], 0
    while found := _STEP.match(override, at):
        keys.append(found[1] if found[1] is not None else found[2])
        at = found.end() + 1
        sign = override[found.end() : at]
        if sign == "=" and (keys != [""]):
            return keys, override[at:]
        if sign != ".":
            break
    raise UserError(f"--set got {override!r}: write key.path=value, for example latent.dim=64")


def type_at(model: type[BaseModel], keys: Sequence[str]) -> Any:
    """The declared type of the value at a path, None if it is not declared (in open blocks)."""
    kind: Any = model
    for key in keys:
        kind = _member(kind, key)
    return kind


def _member(kind: Any, key: str) -> Any:
    for option in _options(kind):
        if isinstance(option, type) and issubclass(option, BaseModel):
            field = option.model_fields.get(key)
            return field.annotation if field else None
        if get_origin(option) in (dict, list):
            return get_args(option)[-1]
    return None


def _options(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself, without the metadata of `Annotated`."""
    if get_origin(kind) is Annotated:
        return _options(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return tuple(inner for option in get_args(kind) for inner in _options(option))
    return (kind,)


def _value(text: str, kind: Any) -> Any:
    options = _options(kind)
    texts = {option for option in options if option is str or _names_only(option)}
    lists = any(get_origin(option) in (list, dict) for option in options)
    stripped = text.strip()
    if NoneType in options and stripped in ("", "null", "~"):
        return None
    if lists and (stripped[:1] in ("[", "{") or not texts):
        return _texts_in(stripped, options)
    if texts and texts | {NoneType} >= {option for option in options if get_origin(option) is not list}:
        return parse_yaml(stripped) if stripped[:1] in ("'", '"') else stripped
    return parse_yaml(text)


def _names_only(option: Any) -> bool:
    return get_origin(option) is Literal and all(isinstance(name, str) for name in get_args(option))


def _texts_in(text: str, options: Sequence[Any]) -> Any:
    """A list or mapping; members declared as strings are kept verbatim."""
    typed = parse_yaml(text)
    plain = yaml.load(text, yaml.BaseLoader)
    members = [get_args(option)[-1] for option in options if get_origin(option) in (list, dict)]
    of_texts = any(str in _options(member) for member in members)
    if isinstance(plain, str):
        return [text] if of_texts and any(get_origin(option) is list for option in options) else typed
    if isinstance(plain, list):
        keyed = not any(get_origin(option) is list for option in options)  # a list of a mapping's keys
        return plain if of_texts or keyed else typed
    if isinstance(plain, Mapping) and isinstance(typed, Mapping):
        return plain if of_texts else dict(zip(plain, typed.values(), strict=True))
    return typed


def _enter(block: Any, key: str, override: str) -> Any:
    if isinstance(block, list):
        return block[_position(block, key, override)]
    key = _key(block, key)
    inner = block.setdefault(key, {})
    if inner is None:
        inner = block[key] = {}
    if not isinstance(inner, dict | list):
        raise UserError(f"--set {override!r}: {key!r} holds {inner!r} and has no parts to set")
    return inner


def _key(block: dict[Any, Any], key: str) -> Any:
    """`key` in the type that the block uses: YAML keys may be numbers."""
    return int(key) if key.isdecimal() and key.isascii() and int(key) in block else key


def _position(block: list[Any], key: str, override: str) -> int:
    if not (key.isdecimal() and key.isascii()) or int(key) >= len(block):
        raise UserError(f"--set {override!r}: {key!r} is not an index of a list of {len(block)}")
    return int(key)
