"""A tokenized corpus on disk: one flat, memory-mapped file of ids, and the start of each sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.data.label_columns import LostLabels
from seqvae.data.labels import hash_labels
from seqvae.data.text.source import SourceStore, open_source
from seqvae.keyed_noise import keyed_permutation

FORMAT = 1
Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]


@dataclass
class Counts:
    """Counts of the sentences and tokens of a split."""

    kept: int = 0
    empty: int = 0  # left out: no token
    truncated: int = 0  # kept, but only their first tokens
    dropped: int = 0  # left out: too long
    tokens: int = 0  # kept tokens, without </s>
    unknown: int = 0  # out-of-vocabulary tokens among these
    literal: int = 0  # tokens that the text itself writes as <unk>, not counted in `unknown`


@dataclass(frozen=True)
class TokenStore:
    """N sentences on disk. `open_store` makes one.

    `labels` (N, L) float32 holds numbers, or indices into the names in `categories`; NaN is missing. `chars`
    (N,) counts the characters covered by the kept tokens, `spelling` (N,) is the cost in nats of spelling the
    unknown tokens. `literal` holds the positions in `flat`, ascending, of unknown tokens that the text itself
    writes as such.
    """

    folder: Path
    counts: Counts
    label_names: tuple[str, ...]
    categories: Mapping[str, Sequence[str]]
    flat: Array  # (all tokens,) uint16 or int32, without special tokens at the ends
    offsets: Array  # (N + 1,) int64
    chars: Array  # (N,) int32
    labels: Array  # (N, L) float32
    lost: Mapping[str, LostLabels] = field(default_factory=dict)  # by label
    notes: Sequence[str] = ()  # lines about how the file was read
    spelling: Array = field(default_factory=lambda: np.zeros(0, np.float32))  # (N,) float32
    literal: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    content: str = ""  # a hash of the texts, independent of the tokenizer
    source: SourceStore | None = None  # the encoder's input, if it is not these tokens

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def key(self) -> str:
        """The name of the content, tokenizer and settings."""
        return self.folder.name.partition("-")[0]

    @property
    def extent(self) -> dict[str, int]:
        """How many `shards`, `sentences`, `tokens` and `bytes` on disk."""
        size = sum(file.stat().st_size for file in self.folder.iterdir())
        return {"shards": 1, "sentences": len(self), "tokens": self.counts.tokens, "bytes": size}

    @cached_property
    def lengths(self) -> npt.NDArray[np.int32]:
        """(N,) tokens of each sentence, without `</s>`."""
        return np.diff(self.offsets).astype(np.int32)

    @property
    def lost_labels(self) -> list[str]:
        """A message per label that is missing for some sentences."""
        return [lost.words(name) for name, lost in self.lost.items() if lost.count]

    def lengths_at(self, rows: Rows) -> Rows:
        """(B,) tokens of the sentences `rows`, without `</s>`."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def grid(self, rows: Rows) -> tuple[Array, Rows]:
        """The ids (B, T - 1) of the sentences `rows` (B,), anything right of their lengths, and these."""
        starts, lengths = self.offsets[rows], self.lengths_at(rows)
        places = np.arange(max(int(lengths.max(initial=0)), 1))
        inside = places < lengths[:, None]
        return (
            self.flat[np.where(inside, starts[:, None] + places, 0)] if len(self.flat) else inside
        ), lengths

    def shuffled(self, places: npt.NDArray[np.uint64], seed: int) -> Rows:
        """The rows at `places` of a keyed permutation of all sentences."""
        return keyed_permutation(places, len(self), seed).astype(np.int64)

    def unknown(self, rows: Sequence[int], unk: int) -> list[list[bool]]:
        """Which tokens of each of these sentences are out of vocabulary."""
        return [self._unknown(i, unk).tolist() for i in rows]

    def _unknown(self, i: int, unk: int) -> npt.NDArray[np.bool_]:
        start, end = self.offsets[i], self.offsets[i + 1]
        found: npt.NDArray[np.bool_] = np.asarray(self.flat[start:end]) == unk
        if len(self.literal):
            written = self.literal[slice(*np.searchsorted(self.literal, (start, end)))]
            found[written - start] = False
        return found

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Hashes of the examples and of each label."""
        return {"examples": self.content, **hash_labels(self.label_names, self.labels)}

    def tokens(self, i: int) -> npt.NDArray[np.int64]:
        """The ids of sentence `i`."""
        return np.asarray(self.flat[self.offsets[i] : self.offsets[i + 1]], np.int64)


def open_store(folder: str | Path) -> TokenStore:
    """Memory-map the files written by `build_store`.

    Raises:
        FileNotFoundError: no store in the folder.
    """
    folder = Path(folder)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    counts, names = Counts(**meta["counts"]), tuple(meta["label_names"])
    return TokenStore(
        folder=folder,
        counts=counts,
        label_names=names,
        categories=meta["categories"],
        flat=_map_file(folder / "tokens.bin", meta["dtype"], counts.tokens),
        offsets=_map_file(folder / "offsets.bin", "int64", counts.kept + 1),
        chars=_map_file(folder / "chars.bin", "int32", counts.kept),
        spelling=_map_file(folder / "spelling.bin", "float32", counts.kept),
        literal=_map_file(folder / "literal.bin", "int64", counts.literal),
        content=meta["content"],
        labels=_map_file(folder / "labels.bin", "float32", counts.kept * len(names)).reshape(-1, len(names))
        if names
        else np.zeros((counts.kept, 0), np.float32),
        lost={name: LostLabels(**lost) for name, lost in meta.get("lost", {}).items()},
        notes=meta.get("notes", ()),
        source=open_source(folder, meta["source"], counts.kept) if meta.get("source") else None,
    )


def _map_file(file: Path, dtype: str, size: int) -> Array:
    if size == 0:
        return np.zeros(0, dtype)
    return np.asarray(np.memmap(file, dtype=dtype, mode="r", shape=(size,)))
