"""The tests in a browser where none is installed yet: Debian's Chromium is installed, and they run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

from browsers import find_browser


@pytest.mark.long
def test_page_in_a_browser_that_is_installed(root: Path) -> None:
    if find_browser() is None:
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            pytest.skip("needs Chromium, or apt-get and the rights to install it")
        for words in (["update"], ["install", "-y", "chromium"]):
            subprocess.run(["apt-get", "-qq", *words], check=True, capture_output=True)
    assert find_browser() is not None
    command = [sys.executable, "-m", "pytest", "-q", "-m", "browser", "tests/explore"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "skipped" not in run.stdout
