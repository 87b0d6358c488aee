"""Examples that occur in several splits, or several times in the training data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqvae.data.image.image_store import ImageStore
from seqvae.data.text.sharded_store import ShardedStore
from seqvae.data.text.token_store import TokenStore

MOST = 200_000  # training examples that are looked at


@dataclass(frozen=True)
class Overlap:
    """Shares of examples; `leaked` {split: share of its examples that the training data hold too}."""

    leaked: dict[str, float]
    repeated: float  # of the training examples, how many are not the first of their kind
    examples: int  # training examples that were compared


def find_overlap(data: Any) -> Overlap:
    """Compare the examples of all splits, exactly: the same tokens or the same pixels."""
    train = Counter(_keys(data.splits["train"], MOST))
    total = train.total()
    leaked = {
        name: _share_in(train, list(_keys(store))) for name, store in data.splits.items() if name != "train"
    }
    return Overlap(leaked, 1 - len(train) / max(1, total), total)


def _share_in(known: Counter[bytes], keys: list[bytes]) -> float:
    return sum(key in known for key in keys) / max(1, len(keys))


def leaked_rows(data: Any, split: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(N,): which examples of a split the training data hold too."""
    known = set(_keys(data.splits["train"], MOST))
    return np.array([key in known for key in _keys(data.splits[split])], dtype=bool)


def _keys(store: Any, most: int | None = None) -> Iterator[bytes]:
    """A hash of each example of a split, or of the first `most`; of other kinds of examples their place."""
    for i in range(len(store))[:most]:
        if isinstance(store, TokenStore | ShardedStore):
            yield _hash(store.tokens(i))
        elif isinstance(store, ImageStore):
            yield _hash(store.pixels[i])
        else:  # no way to compare examples: all differ
            yield f"{id(store)} {i}".encode()


def _hash(row: np.ndarray[Any, Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=12).digest()
