"""The exception for user errors, and the hint that suggests the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """An error that the user can fix: one line that says what was wrong, what was got and what to do.

    The command line prints it without a traceback and exits with status 2.
    """


class LocalError(UserError):
    """A user error that occurs on one rank only, which therefore has to print it itself."""


def suggest(wrong: str, right: Iterable[str]) -> str:
    """The end of an error message about an unknown name: `did you mean X? known: ...`.

    Args:
        wrong: the name that was got.
        right: the names that exist.

    Returns:
        The nearest name where one is similar enough, then all names in alphabetical order.

    Example:
        >>> suggest("gausian", ["gaussian", "vmf"])
        "did you mean 'gaussian'? known: gaussian, vmf"
    """
    names = sorted(right)
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(names) or 'none'}"
