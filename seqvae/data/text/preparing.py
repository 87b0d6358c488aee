"""Preparing the shards of a corpus, by this process or by many at once, and joining them to one data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from seqvae.data.cache import content_key, fill_folder
from seqvae.data.preparation import Preparation
from seqvae.data.text import batching
from seqvae.data.text.shard_storage import ShardFacts, ShardStorage
from seqvae.data.text.sharded_store import (
    OpenShards,
    ShardedSource,
    ShardedStore,
    join_content,
    sum_counts,
    sum_lost,
)
from seqvae.data.text.splits import Split
from seqvae.data.text.stores import StoreMaker
from seqvae.data.text.token_store import Array
from seqvae.errors import UserError
from seqvae.utils.jobs.scheduler import Job, Slot
from seqvae.utils.jobs.workers import run_jobs
from seqvae.utils.reporter import Reporter

Shards = Callable[[], Sequence[Split]]


def load_shards(shards: Sequence[Split], again: Shards, make: StoreMaker, how: Preparation) -> ShardedStore:
    """All shards as one data set, after those were prepared that are not yet.

    Other programs may do the same at once, on all machines that share the folder of `data.store`: each shard
    is prepared by one of them. `again` makes the same splits in another process.

    Raises:
        UserError: a shard that cannot be read or prepared, or labels that differ in kind from shard to shard.
    """
    storage = ShardStorage.of(make.data)
    names = [make.name(shard) for shard in shards]
    _prepare_all(storage, names, shards, again, make, how)
    facts = [storage.facts(name) for name in names]
    _check_room(storage, facts, read_together(facts, make.data.mix_shards))
    storage.cache.make_room()
    return _join_shards(storage, names, shards, make, facts)


def _prepare_all(
    storage: ShardStorage,
    names: Sequence[str],
    shards: Sequence[Split],
    again: Shards,
    make: StoreMaker,
    how: Preparation,
) -> None:
    left = [i for i, name in enumerate(names) if not storage.is_prepared(name)]
    if not left:
        return
    here = None if how.places else shards
    jobs = [
        Job(
            shards[i].name,
            partial(_prepare, i, names[i], here, again, make, storage),
            lease=storage.claim(names[i]),
            is_done=partial(storage.is_prepared, names[i]),
        )
        for i in left
    ]
    jobs.append(Job("all shards", _nothing, frozenset(job.name for job in jobs)))  # waits for other programs
    failed = run_jobs(jobs, lambda name, reason: None, how.report, how.places)
    reasons = [(name, reason) for name, reason in failed.items() if name != "all shards"]
    if reasons:
        raise UserError(
            f"{len(reasons)} of {len(shards)} shards cannot be prepared, the first is {reasons[0][0]}: "
            f"{reasons[0][1]}"
        )


def _prepare(
    number: int,
    name: str,
    shards: Sequence[Split] | None,
    again: Shards,
    make: StoreMaker,
    storage: ShardStorage,
    place: Slot,
    report: Reporter,
) -> None:
    split = (again() if shards is None else shards)[number]
    storage.prepare(name, partial(make.build, split))


def _nothing(place: Slot, report: Reporter) -> None:
    """The job that comes after all others."""


def read_together(facts: Sequence[ShardFacts], mix: int) -> int:
    """How many shards a block of sentences, which are put in order together, comes from at most.

    It may begin in one group of `mix` shards and end in the next; between them lie as many as are smaller.
    """
    sizes = np.sort([one.counts.kept for one in facts])
    inside = int(np.searchsorted(sizes.cumsum(), batching.BLOCK)) + 1
    return min(len(facts), 2 * mix + inside - 1)


def _check_room(storage: ShardStorage, facts: Sequence[ShardFacts], together: int) -> None:
    """Refuse a cache that cannot hold the shards that are read together: each batch would fetch them anew."""
    limit, needed = storage.cache.limit, sum(sorted((one.size for one in facts), reverse=True)[:together])
    if limit is not None and needed > limit:
        raise UserError(
            f"data.cache_gb got {limit / 1e9:g}, and {together} shards, which are read together, have "
            f"{needed / 1e9:.3g} GB: give more, or lower data.mix_shards or data.shard_mb"
        )


def _join_shards(
    storage: ShardStorage,
    names: Sequence[str],
    shards: Sequence[Split],
    make: StoreMaker,
    facts: Sequence[ShardFacts],
) -> ShardedStore:
    labels = shards[0].labels
    categories = {name: joint for name in labels if (joint := _join_categories(name, labels, facts))}
    counts = sum_counts(facts)
    folder = storage.cache.root / ".corpora" / content_key(*names)
    mix = make.data.mix_shards
    store = ShardedStore(
        folder=folder,
        open=OpenShards(
            lambda i: storage.open(names[i], partial(make.build, shards[i])),
            lambda i: storage.touch(names[i]),
            read_together(facts, mix),
        ),
        starts=np.cumsum([0, *(one.counts.kept for one in facts)], dtype=np.int64),
        mix=mix,
        counts=counts,
        content=join_content(facts),
        label_names=labels,
        categories=categories,
        labels=_join_labels(folder, labels, categories, facts, counts.kept),
        lost={name: sum_lost(facts, name) for name in labels},
        notes=[*dict.fromkeys(note for one in facts for note in one.notes)],
        sizes=[one.size for one in facts],
    )
    if all(one.source is None for one in facts):
        return store
    return replace(store, source=_join_sources(store, facts))


def _join_sources(store: ShardedStore, facts: Sequence[ShardFacts]) -> ShardedSource:
    known = [one for one in facts if one.source is not None and one.counts.kept]
    widths = {one.source["width"] for one in known if one.source is not None}
    if len(widths) > 1:
        raise UserError(f"vectors of {sorted(widths)} numbers are in different shards: give one width")
    width = widths.pop() if widths else 0
    sums = sum((one.source_sums for one in known), np.zeros((2, width)))
    return ShardedSource(store.by_shard, width, np.asarray(sums), len(store))


def _join_categories(name: str, labels: Sequence[str], facts: Sequence[ShardFacts]) -> list[str]:
    """The names of a label in all shards, in their order; none for numbers.

    Raises:
        UserError: names in some shards and numbers in others.
    """
    column = labels.index(name)
    with_numbers = [
        i
        for i, one in enumerate(facts)
        if not one.categories.get(name) and not np.isnan(one.labels[:, column]).all()
    ]
    found = {each for one in facts for each in one.categories.get(name, ())}
    if found and with_numbers:
        raise UserError(
            f"label {name!r} is numbers in shard {with_numbers[0]} and names in others "
            f"({sorted(found)[0]!r}): use one kind"
        )
    return sorted(found)


def _join_labels(
    folder: Path,
    labels: Sequence[str],
    categories: Mapping[str, Sequence[str]],
    facts: Sequence[ShardFacts],
    examples: int,
) -> Array:
    """The labels (N, L) of all shards with the joint categories, mapped from this disk."""
    if not labels or not examples:
        return np.zeros((examples, len(labels)), np.float32)
    if not (folder / "labels.bin").exists():
        with fill_folder(folder, "labels.bin") as work, (work / "labels.bin").open("wb") as file:
            for one in facts:
                file.write(_recode_labels(one, labels, categories).tobytes())
    return np.asarray(np.memmap(folder / "labels.bin", np.float32, "r", shape=(examples, len(labels))))


def _recode_labels(one: ShardFacts, labels: Sequence[str], categories: Mapping[str, Sequence[str]]) -> Array:
    """The labels of a shard, whose names stand where all shards have them."""
    found = np.array(one.labels, np.float32)
    for column, name in enumerate(labels):
        if own := one.categories.get(name):
            places = {each: i for i, each in enumerate(categories[name])}
            table = np.array([*(places[each] for each in own), np.nan], np.float32)
            codes = found[:, column]
            found[:, column] = table[np.where(np.isnan(codes), len(own), codes).astype(np.int64)]
    return found
