"""Paths of a run's data: absolute paths in saved configs, and corpora that have moved."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqvae.config.schema import DataConfig, RunConfig
from seqvae.errors import UserError

PARTS = ("train", "valid", "test")


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The config with absolute paths of its local data, tokenizer file and `init`.

    A run stores its config and may be used from another working folder. Hub ids are left unchanged.
    """
    data = _map_sources(config.data, _absolute)
    return config.model_copy(update={"data": data}).map_paths(_absolute)


def missing_source(data: DataConfig) -> str | None:
    """The first local source of a run's data that no longer exists, or None."""
    for name in PARTS:
        for source in _list_sources(getattr(data, name)):
            if os.path.isabs(source) and not _is_there(source):
                return source
    return None


def moved_to(data: DataConfig, place: str) -> DataConfig:
    """The data block with its sources at `place`: the training source itself, or the folder of all of them.

    Raises:
        UserError: a missing file, or a run on embedded data.
    """
    if not data.train:
        raise UserError(f"--corpus got {place!r}, but this run was trained on embedded data: leave it out")
    if not Path(place).exists():
        raise UserError(f"--corpus got {place!r}, which is not there: name a file or folder")
    sources = [source for name in PARTS for source in _list_sources(getattr(data, name))]
    names = [Path(source).name for source in sources]
    if Path(place).is_dir() and any((Path(place) / name).exists() for name in names):
        return _map_sources(data, lambda source: _beside(Path(place), source))
    if len(sources) > 1:
        raise UserError(
            f"--corpus got {place!r}, but this run was trained on {', '.join(names)}: name the folder of them"
        )
    return _map_sources(data, lambda source: os.path.abspath(place))


def _beside(folder: Path, source: str) -> str:
    found = folder / Path(source).name
    if not _is_there(str(found)):
        raise UserError(f"--corpus {folder} holds no {found.name}, which the run was trained on")
    return os.path.abspath(found)


def _map_sources(data: DataConfig, change: Callable[[str], str]) -> DataConfig:
    """The data block with `change` applied to each source."""
    given = {name: getattr(data, name) for name in PARTS if getattr(data, name)}
    return data.model_copy(
        update={
            name: change(value) if isinstance(value, str) else [change(source) for source in value]
            for name, value in given.items()
        }
    )


def _list_sources(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _absolute(source: str) -> str:
    return os.path.abspath(source) if source and _is_there(source) else source


def _is_there(source: str) -> bool:
    """Whether a source is a file, a folder (perhaps with @split), or a glob that matches some."""
    folder = source.rpartition("@")[0]
    return bool(Path(source).exists() or (folder and Path(folder).is_dir()) or glob.glob(source))
