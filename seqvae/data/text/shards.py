"""A corpus of several sources as shards: which sources belong together, and which rows are set aside."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqvae.config.schema import TextDataConfig
from seqvae.data.cache import content_key
from seqvae.data.input_files import expand
from seqvae.data.remote import is_url, url_size
from seqvae.data.text.readers import Example
from seqvae.data.text.splits import Split, file_split, hash_rows, with_vectors_of
from seqvae.errors import UserError

SPREAD = 32  # shards, at even distances, that rows are set aside of and that a tokenizer is trained on
SAMPLED = 1_000_000  # texts that a tokenizer is trained on
_CHUNK = 1 << 12  # rows that are hashed together
_MB = 1_000_000


def shard_sources(data: TextDataConfig) -> list[tuple[str, ...]]:
    """The sources of each shard of `data.train`, in their order; none where the corpus is read as one store.

    Consecutive files are one shard until they have `data.shard_mb` together. One shard of files on this disk
    is no shard; nor are there any where only the first `data.examples` are read, or where one matrix holds
    the vectors of several files.

    Raises:
        UserError: a pattern that nothing matches, or a place that cannot be read.
    """
    if not data.train or data.examples is not None:
        return []
    sources = expand(data.train)
    if data.vectors is None:
        groups = _group_sources(sources, int(data.shard_mb * _MB))
    else:
        groups = [(source,) for source in sources] if len(expand(data.vectors)) == len(sources) else []
    return groups if len(groups) > 1 or any(map(is_url, sources)) else []


def _group_sources(sources: Sequence[str], least: int) -> list[tuple[str, ...]]:
    groups: list[list[str]] = []
    size = least
    for source in sources:
        if size >= least:
            groups.append([])
            size = 0
        groups[-1].append(source)
        size += _size_of(source, least)
    return [tuple(group) for group in groups]


def _size_of(source: str, least: int) -> int:
    """The size of a file; folders and data sets are shards of their own."""
    if is_url(source):
        return url_size(source)
    return Path(source).stat().st_size if Path(source).is_file() else least


def shard_splits(data: TextDataConfig, groups: Sequence[Sequence[str]]) -> dict[str, Split]:
    """Train, whose `shards` become a store each, and the held-out splits that are not given as files.

    Where rows are set aside, they are those of the smallest keyed hashes among the first rows of at most 32
    shards, so that a held-out split is read without reading the corpus. `train.examples` is what a tokenizer
    is trained on: the first rows of the same shards, a million texts in all.

    Raises:
        UserError: a source that is not there, or shares that leave nothing to train on.
    """
    vectors = _matching_vectors(data, len(groups))
    wholes = [
        with_vectors_of(
            file_split(f"shard {i} ({group[0]})", _unwrap(group), data, tuple(data.labels)),
            file,
            data.vector_column,
        )
        for i, (group, file) in enumerate(zip(groups, vectors, strict=True))
    ]
    given = {"valid": data.valid, "test": data.test}
    shares = {"valid": data.valid_share, "test": data.test_share}
    shares = {k: s for k, s in shares.items() if not given[k] and (s or k == "valid")}
    if sum(shares.values()) >= 1:
        raise UserError(
            f"valid_share and test_share add up to {sum(shares.values()):g}: leave some to train on"
        )
    spread = sorted({i * len(wholes) // min(SPREAD, len(wholes)) for i in range(min(SPREAD, len(wholes)))})
    most = -(-data.max_heldout // len(spread))
    aside = [_Aside(wholes[i], shares, most, data.split_seed, number) for number, i in enumerate(spread)]
    shards = list(wholes)
    for i, part in zip(spread, aside if shares else (), strict=False):
        shards[i] = part.rest()
    held = {name: _heldout(aside, name) for name in shares}
    return {"train": _sample([shards[i] for i in spread], shards), **held}


def _unwrap(group: Sequence[str]) -> str | Sequence[str]:
    return group[0] if len(group) == 1 else list(group)


def _matching_vectors(data: TextDataConfig, shards: int) -> list[str | None]:
    """The file of vectors of each shard."""
    return [None] * shards if data.vectors is None else list(expand(data.vectors))


def _sample(read: Sequence[Split], shards: Sequence[Split]) -> Split:
    """The training split: all shards, and the first texts of some of them."""
    each = -(-SAMPLED // len(read))

    def examples() -> Iterator[Example]:
        for shard in read:
            yield from itertools.islice((e for e in shard.examples() if e.text), each)

    key = content_key(*(shard.key for shard in shards))
    return replace(shards[0], name="train", examples=examples, key=key, shards=tuple(shards))


@dataclass(frozen=True)
class _Aside:
    """A shard of which rows are set aside; its `number` among these gives it hashes of its own."""

    whole: Split
    shares: Mapping[str, float]
    most: int
    seed: int
    number: int

    @property
    def key(self) -> str:
        """What decides which rows these are."""
        return f"{self.whole.key}|aside {self.shares} {self.most} {self.seed} {self.number}"

    def parts(self) -> Iterator[tuple[str, Example]]:
        """Each example and its part."""
        seed = self.seed + self.number * 1_000_003
        return parts_of(self.whole.examples(), self.shares, self.most, seed)

    def rest(self) -> Split:
        """What is left to train on."""

        def examples() -> Iterator[Example]:
            return (example for part, example in self.parts() if part == "train")

        return replace(self.whole, examples=examples, key=f"{self.key}|rest")


def _heldout(aside: Sequence[_Aside], name: str) -> Split:
    """A held-out split; of each shard no more is read than it takes."""

    def examples() -> Iterator[Example]:
        for one in aside:
            yield from itertools.islice((example for part, example in one.parts() if part == name), one.most)

    key = content_key(*(one.key for one in aside))
    return replace(aside[0].whole, name=name, examples=examples, key=f"{key}|{name}")


def parts_of(
    examples: Iterator[Example], shares: Mapping[str, float], most: int, seed: int
) -> Iterator[tuple[str, Example]]:
    """Each example with text and the part that it belongs to: `train`, or one of `shares`.

    A row belongs to a part where its keyed hash says so, until the part has `most` rows: what a row is does
    not depend on the rows after it.
    """
    filled = (example for example in examples if example.text)
    left = dict.fromkeys(shares, most)
    ends = dict(zip(shares, np.cumsum(list(shares.values())).tolist(), strict=True))
    start = 0
    while any(left.values()) and (chunk := list(itertools.islice(filled, _CHUNK))):
        chances = hash_rows(np.arange(start, start + len(chunk)), seed).astype(np.float64) / 2.0**64
        start += len(chunk)
        for chance, example in zip(chances.tolist(), chunk, strict=True):
            part = next((name for name, end in ends.items() if chance < end), "train")
            if part != "train" and not left[part]:
                part = "train"
            if part != "train":
                left[part] -= 1
            yield part, example
    for example in filled:
        yield "train", example
