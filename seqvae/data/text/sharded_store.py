"""Tokenized sentences in many stores, of which few are open at once: read like one store.

Shapes: N sentences, B of them, S shards, T tokens, L labels, W numbers of a vector.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqvae.data.label_columns import LostLabels
from seqvae.data.labels import hash_labels
from seqvae.data.text.sentences import EncoderSource
from seqvae.data.text.shard_storage import ShardFacts
from seqvae.data.text.source import SourceFacts, SourceRows, facts_of_sums
from seqvae.data.text.token_store import Array, Counts, Rows, TokenStore
from seqvae.keyed_noise import keyed_permutation

_GROUPS = 0x9E3779B1  # keeps the permutations of the groups of an epoch apart


class OpenShards:
    """Opens shards by their number; the `most` used last stay mapped."""

    def __init__(
        self, open_shard: Callable[[int], TokenStore], touch: Callable[[int], None], most: int
    ) -> None:
        self.open_shard, self.touch, self.most = open_shard, touch, most
        self._open: OrderedDict[int, TokenStore] = OrderedDict()

    def __call__(self, number: int) -> TokenStore:
        """The store of a shard."""
        store = self._open.pop(number, None)
        if store is None:
            while len(self._open) >= self.most:
                self._open.popitem(last=False)
            store = self.open_shard(number)
        else:
            self.touch(number)
        self._open[number] = store
        return store


@dataclass(frozen=True)
class ShardedStore:
    """N sentences in S stores; row i of shard s is row `starts[s]` + i.

    An epoch reads the shards in a permuted order, `mix` at a time: the sentences of such a group are permuted
    together. So the order is a function of (seed, epoch, shard, row), of no number of processes and no size
    of a cache, and few shards are open at once.
    """

    folder: Path  # named by the content of all shards
    open: OpenShards
    starts: Rows  # (S + 1,)
    mix: int
    counts: Counts
    content: str
    label_names: tuple[str, ...]
    categories: Mapping[str, Sequence[str]]
    labels: Array  # (N, L) float32
    lost: Mapping[str, LostLabels] = field(default_factory=dict)
    notes: Sequence[str] = ()
    source: EncoderSource | None = None
    sizes: Sequence[int] = ()  # bytes of each shard

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def key(self) -> str:
        """The name of the content, tokenizer and settings."""
        return self.folder.name

    @property
    def lost_labels(self) -> list[str]:
        """A line for each label that some sentences do not have."""
        return [lost.words(name) for name, lost in self.lost.items() if lost.count]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Hashes of the examples and of each label."""
        return {"examples": self.content, **hash_labels(self.label_names, self.labels)}

    @property
    def extent(self) -> dict[str, int]:
        """How many `shards`, `sentences`, `tokens` and `bytes` on disk."""
        counts = {"sentences": len(self), "tokens": self.counts.tokens}
        return {"shards": len(self.sizes), **counts, "bytes": sum(self.sizes)}

    def by_shard(self, rows: Rows) -> Iterator[tuple[TokenStore, Rows, Rows]]:
        """Each shard that has some of `rows` (B,), which places of `rows` these are, and their rows in it."""
        shards = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(shards).tolist():
            places = np.flatnonzero(shards == number)
            yield self.open(number), places, rows[places] - self.starts[number]

    def lengths_at(self, rows: Rows) -> Rows:
        """(B,) tokens of the sentences `rows`, without `</s>`."""
        lengths = np.zeros(len(rows), np.int64)
        for store, places, own in self.by_shard(rows):
            lengths[places] = store.lengths_at(own)
        return lengths

    def grid(self, rows: Rows) -> tuple[Array, Rows]:
        """The ids (B, T - 1) of the sentences `rows` (B,), anything right of their lengths, and these."""
        parts = [(places, *store.grid(own)) for store, places, own in self.by_shard(rows)]
        found = np.zeros((len(rows), max((ids.shape[1] for _, ids, _ in parts), default=1)), np.int64)
        lengths = np.zeros(len(rows), np.int64)
        for places, ids, counted in parts:
            found[places, : ids.shape[1]] = ids
            lengths[places] = counted
        return found, lengths

    def tokens(self, i: int) -> npt.NDArray[np.int64]:
        """The ids of sentence `i`."""
        ids, lengths = self.grid(np.array([i]))
        return np.asarray(ids[0, : lengths[0]], np.int64)

    def shuffled(self, places: npt.NDArray[np.uint64], seed: int) -> Rows:
        """The rows at `places` of an order of all sentences that `seed` keys: group of shards after group."""
        shards = len(self.starts) - 1
        order = keyed_permutation(np.arange(shards, dtype=np.uint64), shards, seed).astype(np.int64)
        sizes = np.diff(self.starts)[order]  # in the order of the epoch
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        first = np.arange(0, shards, self.mix)  # where in `order` each group begins
        groups = np.searchsorted(ends[first], places.astype(np.int64), side="right") - 1
        rows = np.zeros(len(places), np.int64)
        for group in np.unique(groups).tolist():
            inside, begin = groups == group, first[group]
            end = min(begin + self.mix, shards)
            own = places[inside] - ends[begin].astype(np.uint64)
            mixed = keyed_permutation(own, int(ends[end] - ends[begin]), seed * _GROUPS + group + 1)
            at = mixed.astype(np.int64) + ends[begin]  # as if the shards lay one behind the other in `order`
            shard = np.searchsorted(ends, at, side="right") - 1
            rows[inside] = self.starts[order[shard]] + at - ends[shard]
        return rows


@dataclass(frozen=True)
class ShardedSource:
    """What the encoder reads of sentences in many stores."""

    by_shard: Callable[[Rows], Iterator[tuple[TokenStore, Rows, Rows]]]
    width: int  # of vectors; 0 for tokens
    sums: Array  # (2, W) over all sentences
    examples: int

    def facts(self) -> SourceFacts:
        """Width, mean and standard deviation over all N sentences."""
        return facts_of_sums(self.sums, self.examples) if self.width else SourceFacts(0)

    def rows(self, rows: Array) -> SourceRows:
        """The chosen sentences (B,)."""
        pieces: list[Array] = [np.zeros(0)] * len(rows)
        pad, tokens = 0, False
        for store, places, own in self.by_shard(rows):
            assert store.source is not None
            found = store.source.rows(own)
            pad, tokens = found.pad, found.lengths is not None
            parts = (
                found.values if found.lengths is None else np.split(found.values, found.lengths.cumsum()[:-1])
            )
            for place, part in zip(places.tolist(), parts, strict=True):
                pieces[place] = part
        if not tokens:
            return SourceRows(np.stack(pieces))
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        return SourceRows(np.concatenate(pieces), lengths, pad)


def sum_counts(facts: Sequence[ShardFacts]) -> Counts:
    """What became of all sentences."""
    total: Counter[str] = Counter()
    for one in facts:
        total.update(asdict(one.counts))
    return Counts(**total)


def sum_lost(facts: Sequence[ShardFacts], name: str) -> LostLabels:
    """How many labels all shards lost."""
    lost = [one.lost[name] for one in facts]
    examples = dict.fromkeys(value for one in lost for value in one.examples)
    return LostLabels(
        sum(one.missing for one in lost),
        sum(one.infinite for one in lost),
        sum(one.unknown for one in lost),
        [*examples][:3],
    )


def join_content(facts: Sequence[ShardFacts]) -> str:
    """A hash of the texts of all shards."""
    return hashlib.blake2b("\n".join(one.content for one in facts).encode(), digest_size=16).hexdigest()
