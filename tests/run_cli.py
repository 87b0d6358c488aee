"""Runs a command as the shell would, for the fixture `cli`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from seqvae.cli import main


class Result(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Those of stdout."""
        return self.out.splitlines()


Cli = Callable[..., Result]


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    """Exit code, stdout and stderr of `seqvae ARGUMENTS`."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return Result(int(left.value.code or 0), *capsys.readouterr())
