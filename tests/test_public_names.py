"""The names that `seqvae` exports are there, documented, and imported when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import seqvae


@pytest.mark.parametrize("name", [name for name in seqvae.__all__ if not name.startswith("__")])
def test_each_public_name_is_there(name: str) -> None:
    found = getattr(seqvae, name)
    assert name in dir(seqvae)
    assert found.__doc__
    if isinstance(found, type):
        assert found.__name__ == name


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'seqvae' has no attribute 'nothing'"):
        _ = seqvae.nothing


def test_each_is_imported_in_a_fresh_interpreter() -> None:
    light = "import sys, seqvae; assert not {'torch', 'pydantic'} & sys.modules.keys()"
    code = f"{light}; from seqvae import *; load, TextVAE"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
