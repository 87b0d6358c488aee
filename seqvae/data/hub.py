"""Splits of data sets saved by `datasets` in a folder, or on the Hub, for all modalities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqvae.errors import UserError, suggest

_SAVED = ("dataset_info.json", "dataset_dict.json")
_HELDOUT = {"valid": ("validation", "valid", "dev", "val"), "test": ("test",)}


def is_saved(path: Path) -> bool:
    """Whether `datasets` saved this folder."""
    return path.is_dir() and any((path / name).is_file() for name in _SAVED)


def load_split(source: str, path: Path | None, split: str) -> Any:
    """Load a `datasets.Dataset`; a split named in the source, after `@`, overrides `split`.

    `path` is the folder, or None for a Hub id, `owner/name` or `owner/name:config`.

    Raises:
        UserError: it cannot be loaded, or has no such split.
    """
    import datasets

    if path is None:
        name, _, named = source.partition("@")
        repository, _, config = name.partition(":")
        wanted = named or split
        return _load(source, lambda: datasets.load_dataset(repository, config or None, split=wanted))
    whole = _load_saved(path)
    if not isinstance(whole, datasets.DatasetDict):
        return whole
    wanted = split if Path(source).exists() else source.rpartition("@")[2]
    if wanted not in whole:
        raise UserError(f"{path} has no split {wanted!r}: {suggest(wanted, whole)}")
    return whole[wanted]


def find_heldout_split(source: str, path: Path | None, part: str) -> str | None:
    """`source@split` for the data set's own validation or test split, if it has one.

    Raises:
        UserError: it cannot be loaded.
    """
    if "@" in source:
        return None
    names = _split_names(source, path)
    found = [name for name in _HELDOUT[part] if name in names]
    return f"{source}@{found[0]}" if found else None


def _split_names(source: str, path: Path | None) -> list[str]:
    import datasets

    if path is not None:
        whole = _load_saved(path)
        return list(whole) if isinstance(whole, datasets.DatasetDict) else []
    repository, _, config = source.partition(":")
    return list(_load(source, lambda: datasets.get_dataset_split_names(repository, config or None)))


def _load_saved(folder: Path) -> Any:
    """Load a folder saved by `datasets`: one split, or several by name."""
    import datasets

    if not is_saved(folder):
        raise UserError(f"{folder} is a folder that `datasets` did not save: give a file, or one that it did")
    return _load(str(folder), lambda: datasets.load_from_disk(str(folder)), "", "save it again")


def _load(
    source: str,
    load: Callable[[], Any],
    whence: str = " from the Hub",
    remedy: str = "check the name and the network",
) -> Any:
    try:
        return load()
    except Exception as error:  # network, permissions, formats: each library raises its own errors
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{source} cannot be loaded{whence} ({reason}): {remedy}") from None
