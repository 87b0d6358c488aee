"""The error that users see, and the hint with the nearest right name that ends it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user's: one line that says what was wrong, what was got and what to do."""


def suggest(wrong: str, right: Iterable[str]) -> str:
    """`did you mean X? known: ...`, for the end of an error."""
    names = sorted(right)
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(names) or 'none'}"
