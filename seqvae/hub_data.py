"""Data sets that `datasets` saved in a folder, or that are on the Hub: their splits, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqvae.registry import UserError, suggest

_HELDOUT = {"valid": ("validation", "valid", "dev", "val"), "test": ("test",)}


def load_split(source: str, path: Path | None, split: str) -> Any:
    """A `datasets.Dataset`; a split named in the source, after `@`, goes before `split`.

    `path` is the folder where there is one; else the source is a Hub id, `owner/name` or `owner/name:config`.

    Raises:
        UserError: it cannot be loaded, or has no such split.
    """
    import datasets

    if path is None:
        name, _, named = source.partition("@")
        repository, _, config = name.partition(":")
        wanted = named or split
        return _loaded(source, lambda: datasets.load_dataset(repository, config or None, split=wanted))
    whole = _loaded(source, lambda: datasets.load_from_disk(str(path)))
    if not isinstance(whole, datasets.DatasetDict):
        return whole
    wanted = split if Path(source).exists() else source.rpartition("@")[2]
    if wanted not in whole:
        raise UserError(f"{path} has no split {wanted!r}: {suggest(wanted, whole)}")
    return whole[wanted]


def heldout_split(source: str, path: Path | None, part: str) -> str | None:
    """`source@split` for the validation or test part that the data set brings, if any.

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
        whole = _loaded(source, lambda: datasets.load_from_disk(str(path)))
        return list(whole) if isinstance(whole, datasets.DatasetDict) else []
    repository, _, config = source.partition(":")
    return list(_loaded(source, lambda: datasets.get_dataset_split_names(repository, config or None)))


def _loaded(source: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # network, rights, formats: each library has its own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        what = "as a saved datasets folder" if Path(source.partition("@")[0]).is_dir() else "from the Hub"
        raise UserError(
            f"{source} cannot be loaded {what} ({reason}): check the name and the network"
        ) from None
