"""Caches are keyed by content, not by names, sizes and times of files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tiny_pictures import grey, write_folder

from seqvae.config.schema import Component, TextDataConfig
from seqvae.data import content
from seqvae.data.content import file_hash, remembered_hash
from seqvae.data.image.readers import ReadOptions, load_source
from seqvae.data.text.dataset import load_data


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))


def replace_silently(path: Path, data: bytes) -> None:
    """Other content of the same size, under the time of the old."""
    before = path.stat()
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a b c\n" * 40)
    first = load_data(TextDataConfig(train=str(file)), Component(name="word"))
    replace_silently(file, b"x y z\n" * 40)
    again = load_data(TextDataConfig(train=str(file)), Component(name="word"))
    assert again.fingerprint != first.fingerprint
    assert again.tokenizer.decode(again.train.tokens(0).tolist()) == "x y z"


def test_a_settled_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a")
    digest = file_hash(file)
    monkeypatch.setattr(content, "_SETTLED", -1.0)
    assert remembered_hash(file) == digest
    monkeypatch.setattr(content, "file_hash", lambda path: "read again")
    assert remembered_hash(file) == digest
    replace_silently(file, b"b")
    assert remembered_hash(file) == "read again"


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(content, "_SETTLED", -1.0)
    assert remembered_hash(tmp_path / "a.txt") == file_hash(tmp_path / "a.txt")


def test_a_picture_of_the_same_size_and_time_is_decoded_again(tmp_path: Path) -> None:
    """As uncompressed files have it."""
    from PIL import Image

    root = write_folder(tmp_path / "one", grey(2), ["a", "a"])
    for png in root.rglob("*.png"):
        Image.open(png).save(png.with_suffix(".bmp"))
        png.unlink()
    first = np.array(load_source(str(root), ReadOptions()).pixels)
    one, two = sorted(root.rglob("*.bmp"))
    data = one.read_bytes()
    replace_silently(one, two.read_bytes())
    replace_silently(two, data)
    assert np.array_equal(load_source(str(root), ReadOptions()).pixels, first[::-1])
