"""Embedding of texts by a frozen pretrained encoder, with a cache on disk by content.

Shapes: n texts, W width of a vector.
"""

from __future__ import annotations

import hashlib
import sys
import time
import uuid
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqvae.data.cache import cache_root, content_key, fill_folder
from seqvae.data.text.readers import Example
from seqvae.data.text.source import SourceRows
from seqvae.models.pretrained.base import Base
from seqvae.models.pretrained.sentences import Pooling, WordReader, pad_ids, recipe_of

Array = npt.NDArray[np.float32]
_BATCH = 64
_DIGEST = 16  # bytes
_KEPT = 256  # minimum number of texts to cache; fewer are embedded again
_SILENT = 30.0  # seconds before progress is reported


class Embedder:
    """A sentence-transformers model, or any encoder with a pooling; loaded at first use."""

    def __init__(self, base: Base, pooling: Pooling, device: torch.device | str = "cpu") -> None:
        self.base, self.device = base, torch.device(device)
        self.recipe = recipe_of(base, pooling)

    @property
    def fingerprint(self) -> str:
        """A hash of the weights and the recipe."""
        return content_key("features", self.base.sha256, self.recipe)

    @cached_property
    def _parts(self) -> tuple[WordReader, Any, Any]:
        network = Base(self.base.name, self.base.folder / self.recipe.folder).load("AutoModel")
        head = self.recipe.head(self.base)
        return WordReader(self.base, self.recipe), network.to(self.device), head.to(self.device).eval()

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Array:
        """Vectors (n, W) float32; order and other texts change a vector only by rounding."""
        words, network, head = self._parts
        ids = words.ids(list(texts))
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        found: list[tuple[list[int], Any]] = []
        with torch.autocast(self.device.type, enabled=False):
            for start in range(0, len(order), _BATCH):
                rows = order[start : start + _BATCH]
                grid, mask = (x.to(self.device) for x in pad_ids([ids[i] for i in rows], words.pad))
                states = network(input_ids=grid, attention_mask=mask.long()).last_hidden_state
                found.append((rows, head(states, mask).float().cpu().numpy()))
        out = np.empty((len(ids), found[0][1].shape[1] if found else 0), np.float32)
        for rows, vectors in found:
            out[rows] = vectors
        return out


class FeatureCache:
    """Memory-mapped vectors on disk, by the hash of their text; each `add` writes its own files.

    Several processes may add concurrently: at worst a text is stored twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blocks: list[Array] = []
        self.places: dict[bytes, tuple[int, int]] = {}
        for block in sorted(p for p in folder.glob("[!.]*") if (p / "vectors.npy").is_file()):
            self._open(block)

    def _open(self, block: Path) -> None:
        keys = np.fromfile(block / "keys.bin", np.uint8).reshape(-1, _DIGEST)
        for row, key in enumerate(keys):
            self.places.setdefault(key.tobytes(), (len(self.blocks), row))
        self.blocks.append(np.load(block / "vectors.npy", mmap_mode="r"))

    def add(self, keys: Sequence[bytes], vectors: Array) -> None:
        """Store vectors (n, W) under their texts' hashes.

        Raises:
            UserError: the disk is full.
        """
        block = self.folder / uuid.uuid4().hex
        with fill_folder(block, "vectors.npy", "vectors") as work:
            (work / "keys.bin").write_bytes(b"".join(keys))
            np.save(work / "vectors.npy", vectors)
        self._open(block)

    def get(self, key: bytes) -> Array:
        """The vector (W,) of a stored text."""
        block, row = self.places[key]
        vector: Array = self.blocks[block][row]
        return vector


class FrozenFeatures:
    """The source reader of a frozen encoder: embeds texts, and caches the vectors for later runs."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.done, self.reported = 0, time.monotonic()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the embedder."""
        return self.embedder.fingerprint

    @cached_property
    def cache(self) -> FeatureCache:
        """The cache of this embedder's vectors."""
        return FeatureCache(cache_root() / "features" / self.fingerprint)

    def read(self, examples: Sequence[Example]) -> SourceRows:
        """Vectors (n, W) of the examples' texts."""
        keys = [_key(example.text) for example in examples]
        new = {k: e.text for k, e in zip(keys, examples, strict=True) if k not in self.cache.places}
        made = self.embedder.embed(list(new.values())) if new else np.zeros((0, 0), np.float32)
        if len(new) >= _KEPT:
            self.cache.add(list(new), made)
            self._report(len(new))
        rows = dict(zip(new, made, strict=True))
        vectors = [rows[key] if key in rows else self.cache.get(key) for key in keys]
        return SourceRows(np.stack(vectors))

    def _report(self, more: int) -> None:
        self.done += more
        if time.monotonic() - self.reported > _SILENT:
            self.reported = time.monotonic()
            print(f"embedded {self.done:,} sentences by {self.embedder.base.name}", file=sys.stderr)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST).digest()
