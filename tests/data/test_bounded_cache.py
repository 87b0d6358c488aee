"""A folder of a bounded size: entries are made once, the one used longest ago makes room."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seqvae.data.bounded_cache import BoundedCache, folder_bytes
from seqvae.errors import UserError
from seqvae.utils.atomic_files import atomic_folder


class Maker:
    """Makes entries of 100 bytes and remembers which."""

    def __init__(self, cache: BoundedCache) -> None:
        self.cache, self.made = cache, list[str]()

    def __call__(self, name: str) -> str:
        """What an entry holds."""
        return self.cache.obtain(name, lambda folder: self.make(folder), lambda f: (f / "x").read_text())

    def make(self, folder: Path) -> None:
        """Fill a new entry."""
        self.made.append(folder.name)
        with atomic_folder(folder, "x") as work:
            (work / "x").write_text(folder.name * 100)


def use_at(cache: BoundedCache, name: str, second: int) -> None:
    """As if an entry had been used then."""
    os.utime(cache.path(name), (second, second))


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    ask = Maker(BoundedCache(tmp_path))
    assert [ask("a"), ask("a")] == ["a" * 100] * 2
    assert ask.made == ["a"]


def test_the_entry_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache = BoundedCache(tmp_path, limit=250)
    ask = Maker(cache)
    for second, name in enumerate("ab", 1):
        ask(name)
        use_at(cache, name, second)
    ask("a")  # used again
    use_at(cache, "a", 3)
    ask("c")
    assert [cache.path(name).exists() for name in "abc"] == [True, False, True]
    ask("b")
    assert ask.made == ["a", "b", "c", "b"]
    assert folder_bytes(tmp_path) <= 250


def test_the_entry_that_was_asked_for_stays(tmp_path: Path) -> None:
    cache = BoundedCache(tmp_path, limit=10)
    assert Maker(cache)("a") == "a" * 100
    assert cache.path("a").exists()


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    ask = Maker(BoundedCache(tmp_path))
    ask("a")
    (tmp_path / "a" / "x").unlink()
    assert ask("a") == "a" * 100
    assert ask.made == ["a", "a"]


def test_a_maker_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = BoundedCache(tmp_path)

    def fail(folder: Path) -> None:
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        cache.obtain("a", fail, lambda folder: folder)
    assert Maker(cache)("a") == "a" * 100


def test_many_who_ask_at_once_make_it_once(tmp_path: Path) -> None:
    ask = Maker(BoundedCache(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(ask, "aaaabbbb")] == [name * 100 for name in "aaaabbbb"]
    assert sorted(ask.made) == ["a", "b"]
