"""Values of a data file with the type that it gives them: texts, and labels that are numbers or names."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from seqvae.errors import UserError

_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_MOST = float(np.finfo(np.float32).max)  # labels are stored in fp32


class Written(str):
    """An untyped value of a text table: the whole column decides whether it is a number."""

    __slots__ = ()


Value = float | str | None  # a number, a category's name (`Written` in a text table), or missing


def typed_value(value: Any, name: str, where: str) -> Value:
    """A value of JSON or a typed column: numbers stay numbers, strings and booleans are names.

    Raises:
        UserError: a value of another type.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return to_float(value)
    if not isinstance(value, str):
        raise UserError(
            f"{where}: label {name!r} is {value!r}: labels are numbers or the names of categories"
        )
    return without_surrogates(value)


def to_float(value: int | float) -> float:
    """The value as a float; infinite if it is too large."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def is_number(text: str) -> bool:
    """Whether a text is a number in plain notation; not `007`, `1_000`, ` 1`, `nan` or `inf`."""
    return _NUMBER.fullmatch(text) is not None


def is_no_number(text: str) -> bool:
    """Whether a text is `nan`, `inf` or `infinity`, in any case."""
    return _NO_NUMBER.fullmatch(text) is not None


def number_of(value: Value) -> float:
    """A value as a number within fp32, else NaN; booleans of older runs are 0 and 1."""
    if isinstance(value, str):
        if value in ("false", "true"):
            return float(value == "true")
        number = float(value) if is_number(value) else math.nan
    else:
        number = math.nan if value is None else value
    return number if abs(number) <= _MOST else math.nan


def spell_number(value: float) -> str:
    """A number as the name of a category: `3`, not `3.0`."""
    return str(int(value)) if value.is_integer() else f"{value:g}"


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which JSON and command lines may contain but UTF-8 cannot encode."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_text(text: str) -> str:
    """The text as models read it: without surrounding white space, and valid Unicode."""
    return without_surrogates(text.strip())
