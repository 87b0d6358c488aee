"""The splits of a data set, and the choice of held-out examples for validation and test.

Shapes: N examples, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from seqvae.config.schema import DataConfig
from seqvae.data.labels import Columns, subsample_labels
from seqvae.errors import UserError

PARTS = ("train", "valid", "test")
Rows = npt.NDArray[np.int64]
RowKeys = Callable[[Rows, int], npt.NDArray[Any]]  # (rows (N,), seed) -> a key for each row
Source = str | Sequence[str]


class Store(Protocol):
    """The examples of one split, with their labels."""

    @property
    def labels(self) -> Columns:
        """(N, L), NaN where a label is missing."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """L names."""
        ...

    @property
    def categories(self) -> Mapping[str, Sequence[str]]:
        """Names of the classes, per label."""
        ...

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of the `examples` and of each label."""
        ...

    def __len__(self) -> int: ...


StoreT = TypeVar("StoreT", bound=Store)


@dataclass(frozen=True, kw_only=True)
class SplitData(Generic[StoreT]):
    """The splits of a run's data, one store each: the part of `interfaces.Data` common to all modalities."""

    train: StoreT
    valid: StoreT
    test: StoreT | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the columns of `batch.labels`."""
        return self.train.label_names

    @property
    def splits(self) -> dict[str, StoreT]:
        """The splits by name; a missing test split is left out."""
        named = zip(PARTS, (self.train, self.valid, self.test), strict=True)
        return {name: store for name, store in named if store is not None}

    def split_fingerprint(self, name: str) -> dict[str, str]:
        """Hashes of a split's examples and of each label, by which a run detects changes."""
        return self.splits[name].hashes

    def check(self) -> list[str]:
        """Warnings before training: none."""
        return []

    def collapse_cause(self) -> str | None:
        """A property of the data for which every code collapses: none is known."""
        return None


def require_one_source(data: DataConfig) -> None:
    """Check that a config does not name both an embedded data set and files.

    Raises:
        UserError: it names both.
    """
    if data.name and data.train:
        raise UserError(f"data has both name {data.name!r} and train {data.train!r}: give one of them")


def heldout_sources(
    data: DataConfig, find: Callable[[str], Source | None] = lambda part: None
) -> dict[str, Source]:
    """The sources of validation and test data, if any: those of the config, else those of `find`."""
    given: dict[str, Source | None] = {"valid": data.valid, "test": data.test}
    found = {part: source or find(part) for part, source in given.items()}
    return {part: source for part, source in found.items() if source}


def heldout_shares(data: DataConfig, held: Collection[str]) -> dict[str, float]:
    """The share of the training data of each part that is not in `held`; validation always has one.

    Raises:
        UserError: the shares leave nothing to train on.
    """
    shares = {"valid": data.valid_share, "test": data.test_share}
    wanted = {k: share for k, share in shares.items() if k not in held and (share or k == "valid")}
    if sum(wanted.values()) >= 1:
        raise UserError(
            f"valid_share and test_share add up to {sum(wanted.values()):g}: leave some to train on"
        )
    return wanted


def heldout_rows(
    n: int, shares: Mapping[str, float], most: int, seed: int, keys: RowKeys, where: str, unit: str
) -> dict[str, Rows]:
    """The held-out rows of each part among `n` rows, sorted: those with the smallest keys.

    A part gets its fraction of the rows, at least 1 and at most `most`. Memory is independent of `n`.

    Args:
        n: number of rows.
        shares: fraction of the rows per part.
        most: largest number of rows per part.
        seed: the second argument of `keys`.
        keys: keyed hashes of rows.
        where: the source, for messages.
        unit: name of several rows, for messages.

    Raises:
        UserError: too few rows.
    """
    sizes = {name: min(max(int(n * share), 1), most) for name, share in shares.items()}
    total = sum(sizes.values())
    if total >= n:
        raise UserError(f"{where} has {n} {unit}, too few to set {' and '.join(sizes)} data aside: add more")
    smallest = _smallest_keys(n, total, lambda rows: keys(rows, seed))
    ends = np.cumsum(list(sizes.values()))
    return {name: np.sort(smallest[e - sizes[name] : e]) for name, e in zip(sizes, ends, strict=True)}


def _smallest_keys(
    n: int, k: int, keys: Callable[[Rows], npt.NDArray[Any]], chunk: int = 1 << 20
) -> npt.NDArray[np.int64]:
    """The `k` rows below `n` with the smallest keys, sorted by key."""
    rows = np.zeros(0, np.int64)
    best = keys(rows)
    for start in range(0, n, chunk):
        more = np.arange(start, min(start + chunk, n))
        best, rows = np.concatenate([best, keys(more)]), np.concatenate([rows, more])
        order = np.lexsort((rows, best))[:k]
        best, rows = best[order], rows[order]
    return rows


def keep_some_labels(store: StoreT, data: DataConfig) -> StoreT:
    """The training split with labels of only `data.num_labeled` examples; unchanged if that is not set.

    Raises:
        UserError: as `subsample_labels`.
    """
    if data.num_labeled is None:
        return store
    kept = subsample_labels(store.labels, data.num_labeled, data.split_seed)
    return replace(store, labels=kept)  # type: ignore[type-var]  # every store is a dataclass
