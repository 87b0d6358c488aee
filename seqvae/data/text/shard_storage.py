"""Where prepared shards lie: a bounded folder on this disk, and a folder or URL that keeps all of them.

Shapes: N sentences of a shard, L labels, W numbers of a vector.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seqvae.config.schema import TextDataConfig
from seqvae.data.bounded_cache import BoundedCache, folder_bytes
from seqvae.data.cache import cache_root, fill_folder
from seqvae.data.label_columns import LostLabels
from seqvae.data.remote import download, is_url, local_path, upload, url_exists
from seqvae.data.text.token_store import Array, Counts, TokenStore, open_store
from seqvae.utils.jobs.leases import Lease

MARK = "meta.json"  # written last: a shard is there when it is
_FILES = ("tokens", "offsets", "chars", "spelling", "literal", "labels", "source", "source_lengths")
_GB = 1e9


@dataclass(frozen=True)
class ShardFacts:
    """What is known of a prepared shard without its tokens."""

    counts: Counts
    content: str
    categories: Mapping[str, Sequence[str]]
    lost: Mapping[str, LostLabels]
    notes: Sequence[str]
    labels: Array  # (N, L) as the shard codes them
    size: int  # bytes of its files
    source: Mapping[str, int] | None  # what `open_source` must know
    source_sums: Array  # (2, W)


Build = Callable[[Path], object]


@dataclass(frozen=True)
class ShardStorage:
    """Prepared shards by the name of their content: prepared once, fetched as needed.

    Args:
        cache: shards on this disk, those used last.
        kept: a folder or URL that keeps all of them, or None: what the cache has lost is prepared again.
    """

    cache: BoundedCache
    kept: str | None = None

    @classmethod
    def of(cls, data: TextDataConfig) -> ShardStorage:
        """As a config says."""
        limit = None if data.cache_gb is None else int(data.cache_gb * _GB)
        kept = None if data.store is None else data.store.rstrip("/")
        if kept is not None and not is_url(kept):
            kept = Path(kept).resolve().as_uri()
        return cls(BoundedCache(cache_root() / "shards", limit), kept)

    def claim(self, name: str) -> Lease:
        """The right to prepare a shard: over all machines that share the folder that keeps them."""
        shared = None if self.kept is None else local_path(self.kept)
        return Lease((shared or self.cache.root) / ".claims" / name)

    def is_prepared(self, name: str) -> bool:
        """Whether a complete copy exists."""
        if self.kept is not None:
            return url_exists(f"{self.kept}/{name}/{MARK}")
        return (self._facts_folder(name) / MARK).exists()

    def prepare(self, name: str, build: Build) -> None:
        """Make a shard and what is known of it, and keep it."""
        self.cache.obtain(name, lambda folder: self._fill(name, folder, build), partial(self._keep, name))

    def open(self, name: str, build: Build) -> TokenStore:
        """A prepared shard: from this disk, else fetched, else made by `build`."""
        return self.cache.obtain(name, lambda folder: self._fill(name, folder, build), open_store)

    def touch(self, name: str) -> None:
        """Note that a shard that is open is in use."""
        self.cache.touch(name)

    def facts(self, name: str) -> ShardFacts:
        """What is known of a prepared shard; little is fetched for it, and it stays on this disk.

        Raises:
            FileNotFoundError: it was never prepared.
        """
        folder = self._facts_folder(name)
        if not (folder / MARK).exists() and self.kept is not None:
            with fill_folder(folder, MARK) as work:
                for file in ("labels.bin", MARK):
                    download(f"{self.kept}/{name}/{file}", work / file)
        return _read_facts(folder)

    def _facts_folder(self, name: str) -> Path:
        return self.cache.root / ".facts" / name

    def _fill(self, name: str, folder: Path, build: Build) -> None:
        if self.kept is not None and url_exists(f"{self.kept}/{name}/{MARK}"):
            self._fetch(name, folder)
        else:
            build(folder)
        self._note_facts(name, folder)

    def _fetch(self, name: str, folder: Path) -> None:
        with fill_folder(folder, MARK) as work:
            for file in _names(json.loads(self._read_mark(name, work))):
                download(f"{self.kept}/{name}/{file}", work / file)

    def _read_mark(self, name: str, work: Path) -> str:
        download(f"{self.kept}/{name}/{MARK}", work / MARK)
        return (work / MARK).read_text("utf-8")

    def _keep(self, name: str, folder: Path) -> None:
        self._note_facts(name, folder)
        if self.kept is None or self.is_prepared(name):
            return
        for file in [*_names(json.loads((folder / MARK).read_text("utf-8"))), MARK]:
            upload(folder / file, f"{self.kept}/{name}/{file}")

    def _note_facts(self, name: str, folder: Path) -> None:
        noted = self._facts_folder(name)
        if (noted / MARK).exists():
            return
        with fill_folder(noted, MARK) as work:
            meta = json.loads((folder / MARK).read_text("utf-8"))
            (work / MARK).write_text(json.dumps({**meta, "size": folder_bytes(folder)}), "utf-8")
            shutil.copyfile(folder / "labels.bin", work / "labels.bin")


def _names(meta: Mapping[str, Any]) -> list[str]:
    """The files of a store besides its mark."""
    return [f"{name}.bin" for name in _FILES if meta.get("source") or not name.startswith("source")]


def _read_facts(folder: Path) -> ShardFacts:
    meta = json.loads((folder / MARK).read_text("utf-8"))
    counts, names = Counts(**meta["counts"]), meta["label_names"]
    labels = np.zeros((counts.kept, len(names)), np.float32)
    if names and counts.kept:
        labels = np.asarray(
            np.memmap(folder / "labels.bin", np.float32, "r", shape=(counts.kept, len(names)))
        )
    return ShardFacts(
        counts=counts,
        content=meta["content"],
        categories=meta["categories"],
        lost={name: LostLabels(**lost) for name, lost in meta["lost"].items()},
        notes=meta["notes"],
        labels=labels,
        size=int(meta.get("size", 0)),
        source=meta.get("source"),
        source_sums=np.array(meta.get("source_sums") or np.zeros((2, 0))),
    )
