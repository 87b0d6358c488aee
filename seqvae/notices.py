"""What a user should know and that stops nothing: a line on stderr, once per run and subject."""

from __future__ import annotations

import logging
from pathlib import Path

from seqvae.distributed import is_main

LOG = logging.getLogger("seqvae")  # without a handler of the user's, Python prints its warnings on stderr
_SAID: set[tuple[Path, str]] = set()


def say_once(run: Path, subject: str, line: str) -> None:
    """Log a line, as a warning, unless one on that subject of that run was said; the first process speaks."""
    if (run, subject) not in _SAID and is_main():
        _SAID.add((run, subject))
        LOG.warning(line)


def forget() -> None:
    """Say all of it again."""
    _SAID.clear()
