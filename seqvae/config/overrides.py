"""`--set key.path=value`: values laid over a nested config before it is checked."""

from __future__ import annotations

from typing import Any

import yaml

from seqvae.errors import UserError


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set `a.b=c`, or `remedies.0.rate=c`, in nested values; c is YAML.

    A new `name` empties its block first: another class takes other arguments.

    Raises:
        UserError: no such form, a place that a list does not have, or no YAML.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set got {override!r}: write key.path=value, for example latent.dim=64")
    *parents, last = path.split(".")
    block: Any = values
    for key in parents:
        block = _enter(block, key, override)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override!r}: {text!r} is not a YAML value") from None
    if isinstance(block, list):
        block[_position(block, last, override)] = value
    elif last == "name" and parents != ["data"] and block.get("name") not in (None, value):
        block.clear()
        block["name"] = value
    else:
        block[_key(block, last)] = value


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
    """`key` as the block writes it: YAML's keys may be numbers."""
    return int(key) if key.isdigit() and int(key) in block else key


def _position(block: list[Any], key: str, override: str) -> int:
    if not key.isdigit() or int(key) >= len(block):
        raise UserError(f"--set {override!r}: {key!r} is no place in a list of {len(block)}")
    return int(key)
