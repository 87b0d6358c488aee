"""Checks of numbers on the command line: too large or not finite is an error, for every command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from seqvae.errors import UserError

MOST = 2**31 - 1  # of counts
MOST_SEED = 2**62 - 1
MOST_FLOAT = 3.4e38  # of single precision


def checks_numbers(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap `command` to reject counts beyond 32 bits, seeds beyond 62 and numbers that are not finite."""

    @functools.wraps(command)
    def checked(*args: Any, **given: Any) -> None:
        for name, value in given.items():
            _check(name, value)
        command(*args, **given)

    return checked


def _check(name: str, value: object) -> None:
    option = f"--{name.strip('_').replace('_', '-')}" if len(name) > 1 else f"-{name}"
    most = MOST_SEED if name == "seed" else MOST
    if isinstance(value, int) and not isinstance(value, bool) and not -most <= value <= most:
        raise UserError(f"{option} got {_format_number(value)}: give a whole number of at most {most}")
    if isinstance(value, float) and not abs(value) <= MOST_FLOAT:
        raise UserError(f"{option} got {value}: give a finite number")


def _format_number(value: int) -> str:
    """The number as text; a description if it has 30 digits or more."""
    return str(value) if abs(value) < 10**30 else "a number of many digits"
