"""The figures of scripts/corpus_scale.py, at a size that takes a minute."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_a_large_corpus_costs_no_more_once_it_is_cached(root: Path, tmp_path: Path) -> None:
    sizes = ["--sentences", "10000", "--sentences", "200000"]
    words = [sys.executable, "scripts/corpus_scale.py", *sizes, "--steps", "5", "--json"]
    found = subprocess.run(
        [*words, "--folder", str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True, check=True
    )
    small, large = (json.loads(line) for line in found.stdout.splitlines())
    assert (small["sentences"], large["sentences"]) == (10_000, 200_000)
    assert large["again_mb"] < 1.1 * small["again_mb"]
    assert large["first_mb"] < 1.1 * small["first_mb"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_shards_are_fetched_into_a_bounded_cache(root: Path, tmp_path: Path) -> None:
    words = [sys.executable, "scripts/large_corpus.py", "--sentences", "200000", "--shards", "8"]
    command = [*words, "--updates", "200", "--folder", str(tmp_path)]
    found = json.loads(subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True).stdout)
    assert found["held_mb"] <= found["limit_mb"] < 0.8 * 8 * 25_000 * found["stored_bytes"] / 1e6
    assert 2 <= found["fetched"] <= 8
    assert found["stored_bytes"] < found["text_bytes"]
    assert list(tmp_path.iterdir()) == []
