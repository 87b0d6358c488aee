"""Notices that a user should read: a line on stderr, once per run and subject."""

from __future__ import annotations

import logging
from pathlib import Path

from seqvae.distributed.collectives import is_main

LOG = logging.getLogger("seqvae")  # if the user adds no handler, Python prints its warnings on stderr
_SAID: set[tuple[Path, str]] = set()


def say_once(run: Path, subject: str, line: str) -> None:
    """Log a line as a warning on rank 0, once per run and subject."""
    if (run, subject) not in _SAID and is_main():
        _SAID.add((run, subject))
        LOG.warning(line)


def forget() -> None:
    """Forget which notices were logged, so that they appear again."""
    _SAID.clear()
