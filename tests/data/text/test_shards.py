"""A corpus of many files: prepared once each, fetched as needed, in an order that its content decides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from seqvae.config.schema import Component, TextDataConfig
from seqvae.data.text import batching
from seqvae.data.text.batching import LengthBucketSampler, collate
from seqvae.data.text.dataset import TextData, load_data, splits_of
from seqvae.data.text.feed import TextBatchSource
from seqvae.data.text.readers import Example
from seqvae.data.text.shard_storage import ShardStorage
from seqvae.data.text.sharded_store import ShardedStore
from seqvae.data.text.shards import parts_of, shard_sources
from seqvae.data.text.token_store import TokenStore
from seqvae.distributed import batch_shards
from seqvae.errors import UserError

WORD = Component(name="word")
SMALL = {"shard_mb": 1e-6, "valid_share": 0.1, "test_share": 0.0}
COLOURS = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder in fsspec's memory."""
    system = fsspec.filesystem("memory")
    yield "memory://corpus"
    for folder in ("/corpus", "/kept"):
        if system.exists(folder):
            system.rm(folder, recursive=True)


def lines_of(shard: int, rows: int = 40) -> list[str]:
    return [f"{COLOURS[(shard + i) % 3]} s{shard} r{i}" + " x" * (i % 5) for i in range(rows)]


def write_files(folder: Path, shards: int = 5, rows: int = 40) -> str:
    folder.mkdir(exist_ok=True)
    for shard in range(shards):
        (folder / f"part-{shard}.txt").write_text("\n".join(lines_of(shard, rows)) + "\n")
    return str(folder / "part-*.txt")


def write_urls(place: str, shards: int = 5, rows: int = 40) -> str:
    for shard in range(shards):
        with fsspec.open(f"{place}/part-{shard}.txt", "w") as file:
            file.write("\n".join(lines_of(shard, rows)) + "\n")
    return f"{place}/part-*.txt"


def loaded(train: str | list[str], **settings: object) -> TextData:
    return load_data(TextDataConfig(train=train, **{**SMALL, **settings}), WORD)  # type: ignore[arg-type]


def texts(data: TextData, store: ShardedStore | TokenStore) -> list[str]:
    return [data.tokenizer.decode(store.tokens(i).tolist()) for i in range(len(store))]


def order_of(store: object, seed: int = 0, epoch: int = 0, size: int = 16) -> list[list[int]]:
    return [rows.tolist() for rows in LengthBucketSampler(store, size, seed, epoch)]  # type: ignore[arg-type]


def test_every_row_is_in_one_part_and_none_is_lost(tmp_path: Path) -> None:
    data = loaded(write_files(tmp_path / "c"), test_share=0.1)
    assert isinstance(data.train, ShardedStore)
    assert data.test is not None
    found = [*texts(data, data.train), *texts(data, data.valid), *texts(data, data.test)]
    assert Counter(found) == Counter(line for shard in range(5) for line in lines_of(shard))
    assert len(data.valid) > 0
    assert data.train.starts.tolist()[-1] == len(data.train) == data.train.counts.kept


def test_one_local_file_and_small_files_are_one_store(tmp_path: Path) -> None:
    pattern = write_files(tmp_path / "c")
    whole = tmp_path / "whole.txt"
    whole.write_text("".join((tmp_path / "c" / f"part-{i}.txt").read_text() for i in range(5)))
    for train in (str(whole), pattern):
        data = load_data(TextDataConfig(train=train), WORD)
        assert isinstance(data.train, TokenStore)
    assert shard_sources(TextDataConfig(train=str(whole), shard_mb=1e-6)) == []
    half = 1.5e-6 * (tmp_path / "c" / "part-0.txt").stat().st_size
    assert [len(group) for group in shard_sources(TextDataConfig(train=pattern, shard_mb=half))] == [2, 2, 1]


def test_the_order_is_a_function_of_seed_epoch_shard_and_row(tmp_path: Path) -> None:
    pattern = write_files(tmp_path / "c", shards=7)
    store = loaded(pattern, mix_shards=2).train
    again = loaded(pattern, mix_shards=2, cache_gb=1.0).train
    assert order_of(store) == order_of(again)
    assert sorted(row for rows in order_of(store) for row in rows) == list(range(len(store)))
    assert order_of(store, epoch=1) != order_of(store) != order_of(store, seed=1)


def test_few_shards_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = loaded(write_files(tmp_path / "c", shards=8), mix_shards=2).train
    assert isinstance(store, ShardedStore)
    places = np.arange(len(store), dtype=np.uint64)
    rows = store.shuffled(places, 12345)
    assert sorted(rows.tolist()) == list(range(len(store)))
    shards = np.searchsorted(store.starts, rows, side="right") - 1
    met = [set(shards[start : start + 40].tolist()) for start in range(0, len(rows), 40)]
    assert max(map(len, met)) <= 4  # of two groups
    assert min(len(np.unique(shards[:60])), 2) == 2  # and the first two are mixed
    changes = np.count_nonzero(np.diff(shards[:60]))
    assert changes > 10


def test_batches_are_those_of_single_rows(tmp_path: Path) -> None:
    data = loaded(write_files(tmp_path / "c"))
    rows = np.array([0, len(data.train) - 1, 50, 51, 3])
    batch = collate(data.train, rows, data.tokenizer.special, seed=3, step=4)
    assert batch.index.tolist() == rows.tolist()
    for row, ids in zip(rows.tolist(), batch.targets.tolist(), strict=True):
        own = data.train.tokens(row).tolist()
        assert ids[: len(own)] == own
        assert ids[len(own)] == data.tokenizer.special.eos


def test_urls_and_files_hold_the_same(tmp_path: Path, memory: str) -> None:
    there = loaded(write_urls(memory))
    here = loaded(write_files(tmp_path / "c"))
    by_url = loaded((tmp_path / "c").as_uri() + "/part-*.txt")
    assert there.tokenizer.fingerprint == here.tokenizer.fingerprint
    assert (
        there.split_fingerprint("train")
        == here.split_fingerprint("train")
        == by_url.split_fingerprint("train")
    )
    assert texts(there, there.valid) == texts(here, here.valid)


def test_a_single_url_is_a_shard(memory: str) -> None:
    write_urls(memory, shards=1)
    data = loaded(f"{memory}/part-0.txt")
    assert isinstance(data.train, ShardedStore)
    assert len(data.train) + len(data.valid) == 40


def test_held_out_files_may_be_urls_too(memory: str) -> None:
    write_urls(memory)
    data = loaded(f"{memory}/part-[0-2].txt", valid=f"{memory}/part-3.txt", test=f"{memory}/part-4.txt")
    assert data.test is not None
    assert (len(data.train), len(data.valid), len(data.test)) == (120, 40, 40)


def test_formats_of_shards(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "c"
    folder.mkdir()
    rows = [{"text": text, "n": i} for i, text in enumerate(lines_of(0))]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "b.parquet")
    (folder / "c.csv").write_text("text,n\n" + "".join(f"{row['text']},{row['n']}\n" for row in rows))
    files = [str(folder / name) for name in ("a.jsonl", "b.parquet", "c.csv")]
    data = loaded(files, labels=["n"], valid=files[0])
    assert len(data.train) == 120
    assert np.asarray(data.train.labels)[:, 0].tolist() == [*range(40)] * 3
    assert texts(data, data.train) == lines_of(0) * 3  # type: ignore[arg-type]


def write_labelled(folder: Path, values: list[list[object]]) -> str:
    folder.mkdir()
    for shard, column in enumerate(values):
        rows = [{"text": f"w{shard} v{i}", "y": value} for i, value in enumerate(column)]
        (folder / f"{shard}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "*.jsonl")


def test_categories_of_all_shards_are_one_order(tmp_path: Path) -> None:
    values: list[list[object]] = [["b", "c", None], ["c", "a"], [None, "d"]]
    pattern = write_labelled(tmp_path / "c", values)
    train = loaded(pattern, labels=["y"], valid=str(tmp_path / "c" / "0.jsonl")).train
    assert train.categories == {"y": ["a", "b", "c", "d"]}
    names = [None if np.isnan(code) else "abcd"[int(code)] for code in np.asarray(train.labels)[:, 0]]
    assert names == [value for column in values for value in column]
    assert train.lost_labels == ["2 without label 'y' (2 missing)"]


def test_labels_of_two_kinds_are_refused(tmp_path: Path) -> None:
    pattern = write_labelled(tmp_path / "c", [["b", "c"], [1.5, 2.5]])
    with pytest.raises(UserError, match="label 'y' is numbers in shard 1 and names in others"):
        loaded(pattern, labels=["y"], valid=str(tmp_path / "c" / "0.jsonl"))


def test_few_labels_are_kept(tmp_path: Path) -> None:
    pattern = write_labelled(tmp_path / "c", [["b", "c"] * 10, ["c", "b"] * 10])
    data = loaded(pattern, labels=["y"], valid=str(tmp_path / "c" / "0.jsonl"), num_labeled=6)
    kept = np.asarray(data.train.labels)[:, 0]
    assert Counter(kept[~np.isnan(kept)].tolist()) == {0.0: 3, 1.0: 3}


def test_a_shard_is_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = write_files(tmp_path / "c")
    valid = str(tmp_path / "valid.txt")
    Path(valid).write_text("red s0 r0\n")
    tokenizer = loaded(pattern, valid=valid).tokenizer
    made = []
    prepare = ShardStorage.prepare
    monkeypatch.setattr(ShardStorage, "prepare", lambda *a: made.append(a[1]) or prepare(*a))
    config = TextDataConfig(train=pattern, valid=valid, **SMALL)  # type: ignore[arg-type]
    assert len(load_data(config, tokenizer).train) == 200
    assert made == []
    (tmp_path / "c" / "part-5.txt").write_text("\n".join(lines_of(5)) + "\n")
    (tmp_path / "c" / "part-2.txt").write_text("\n".join(lines_of(9)) + "\n")
    assert len(load_data(config, tokenizer).train) == 240
    assert len(made) == 2  # the new one and the changed one


@pytest.mark.parametrize("kept", [None, "memory://kept/deep", "folder"])
def test_a_bounded_cache_fetches_what_it_lost(
    tmp_path: Path, memory: str, kept: str | None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "kept") if kept == "folder" else kept
    pattern = write_files(tmp_path / "c", shards=6, rows=400)
    settings = {"store": store, "mix_shards": 1, "max_heldout": 60}
    monkeypatch.setattr(batching, "BLOCK", 100)
    free = loaded(pattern, **settings)
    assert isinstance(free.train, ShardedStore)
    expected = texts(free, free.train)
    limit = 3.1 * max(free.train.sizes)
    bounded = loaded(pattern, **settings, cache_gb=limit / 1e9)
    assert isinstance(bounded.train, ShardedStore)
    seen = []
    for number in (0, 3, 5, 0, 1, 2, 3, 4):
        assert len(bounded.train.open(number)) > 300
        folders = [p for p in (cache / "shards").iterdir() if p.is_dir() and not p.name.startswith(".")]
        seen.append(sum(f.stat().st_size for p in folders for f in p.iterdir()))
    assert max(seen) <= limit
    assert texts(bounded, bounded.train) == expected
    assert order_of(bounded.train) == order_of(free.train)


def test_a_cache_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.cache_gb got 1e-06, and 12 shards, which are read together"):
        loaded(write_files(tmp_path / "c", shards=12), cache_gb=1e-6)


def test_a_kept_shard_serves_another_machine(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = write_files(tmp_path / "c")
    first = loaded(pattern, store="memory://kept")
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr("seqvae.data.text.stores.StoreMaker.build", _refuse_training_stores(first))
    second = loaded(pattern, store="memory://kept")
    assert second.split_fingerprint("train") == first.split_fingerprint("train")
    assert texts(second, second.train) == texts(first, first.train)  # type: ignore[arg-type]


def _refuse_training_stores(data: TextData) -> object:
    from seqvae.data.text.stores import StoreMaker

    build = StoreMaker.build

    def refuse(self: StoreMaker, split: object, folder: Path) -> TokenStore:
        assert not self.training, "prepared twice"
        return build(self, split, folder)  # type: ignore[arg-type]

    return refuse


def test_what_a_row_is_does_not_depend_on_later_rows() -> None:
    rows = [Example(f"t {i}") for i in range(9000)]
    shares = {"valid": 0.05, "test": 0.1}
    whole = [part for part, _ in parts_of(iter(rows), shares, 100, 0)]
    start = [part for part, _ in parts_of(iter(rows[:5000]), shares, 100, 0)]
    assert whole[:5000] == start
    counted = Counter(whole)
    assert (counted["valid"], counted["test"]) == (100, 100)
    assert max(i for i, part in enumerate(whole) if part == "test") < 1500


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    pattern = write_files(tmp_path / "c")
    (tmp_path / "c" / "part-3.txt").write_bytes(b"good\n\xff\xfe\xfd bad\n")
    with pytest.raises(UserError, match=r"part-3.txt is not a text file"):
        loaded(pattern)


def test_errors_of_urls(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no file at memory://corpus/none"):
        loaded("memory://corpus/none-*.txt")
    with pytest.raises(UserError, match=r"nothing://x .*cannot be read|nothing://x"):
        loaded("nothing://x/y.txt")
    with fsspec.open(f"{memory}/bad.jsonl", "w") as file:
        file.write('{"text": "good"}\n{"text": \n')
    with pytest.raises(UserError, match=r"memory:///?corpus/bad\.jsonl"):
        loaded(f"{memory}/bad.jsonl", valid=f"{memory}/bad.jsonl")


def test_vectors_of_each_shard(tmp_path: Path) -> None:
    from seqvae.data.text.vectors import GivenVectors

    pattern = write_files(tmp_path / "c", shards=3)
    matrices = [np.random.default_rng(i).normal(size=(40, 6)).astype(np.float32) for i in range(3)]
    for i, matrix in enumerate(matrices):
        np.save(tmp_path / "c" / f"v{i}.npy", matrix)
    settings = {
        **SMALL,
        "valid": str(tmp_path / "c" / "part-0.txt"),
        "valid_vectors": str(tmp_path / "c" / "v0.npy"),
    }
    config = TextDataConfig(train=pattern, vectors=str(tmp_path / "c" / "v*.npy"), **settings)  # type: ignore[arg-type]
    data = load_data(config, WORD, GivenVectors())
    assert isinstance(data.train, ShardedStore)
    whole = np.concatenate(matrices)
    rows = np.array([119, 0, 41, 40])
    batch = collate(data.train, rows, data.tokenizer.special)
    assert np.array_equal(batch.source.numpy(), whole[rows])
    assert data.train.source is not None
    facts = data.train.source.facts()
    assert facts.mean is not None
    assert np.allclose(facts.mean.numpy(), whole.mean(0), atol=1e-6)
    one = config.model_copy(update={"vectors": [str(tmp_path / "c" / f"v{i}.npy") for i in range(2)]})
    with pytest.raises(UserError, match=r"data\.vectors names 2 files"):
        splits_of(one)


def test_processes_read_parts_of_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = loaded(write_files(tmp_path / "c", shards=7), mix_shards=2)

    def rows(step: int) -> list[int]:
        return [i for batch in TextBatchSource(data, 16, 1, 0).update(step) for i in batch.index.tolist()]

    alone = [rows(step) for step in (0, 3, 25)]
    parts = []
    for rank in range(2):
        monkeypatch.setattr(batch_shards, "world_size", lambda: 2)
        monkeypatch.setattr(batch_shards, "rank", lambda rank=rank: rank)
        parts.append([rows(step) for step in (0, 3, 25)])
    assert [one + two for one, two in zip(*parts, strict=True)] == alone
