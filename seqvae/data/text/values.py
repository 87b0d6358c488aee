"""Values of label columns, of the type that their file gives them: numbers, names, or just written."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from seqvae.errors import UserError

_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_MOST = float(np.finfo(np.float32).max)  # labels are stored in single precision


class Written(str):
    """A value of a text table, whose file gives no types: the whole column says whether it is a number."""

    __slots__ = ()


Value = float | str | None  # a number, a category's name (`Written` in a text table), or missing


def typed_value(value: Any, name: str, where: str) -> Value:
    """A value of JSON or of a typed column: numbers are numbers, strings and booleans are names.

    Raises:
        UserError: a value of another kind.
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
    """The number; infinite where it is beyond all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def is_number(text: str) -> bool:
    """Whether a text is a number in plain notation; not `007`, `1_000`, ` 1`, `nan` or `inf`."""
    return _NUMBER.fullmatch(text) is not None


def is_no_number(text: str) -> bool:
    """Whether it is how programs write that a number is undefined or infinite."""
    return _NO_NUMBER.fullmatch(text) is not None


def number_of(value: Value) -> float:
    """A value as a number that single precision can hold, else NaN; booleans of older runs are 0 and 1."""
    if isinstance(value, str):
        if value in ("false", "true"):
            return float(value == "true")
        number = float(value) if is_number(value) else math.nan
    else:
        number = math.nan if value is None else value
    return number if abs(number) <= _MOST else math.nan


def without_surrogates(text: str) -> str:
    """Without half surrogate pairs, which JSON and command lines can carry and no text can hold."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_text(text: str) -> str:
    """A text as models read it, in training and in use: without surrounding white space, valid Unicode."""
    return without_surrogates(text.strip())
