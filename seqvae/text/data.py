"""From a data block of a config to token files: splits, tokenizer and caches by content."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqvae.config import Component, DataConfig
from seqvae.registry import UserError, construct, lookup, suggest
from seqvae.synthetic import CORPORA, SentenceCorpus
from seqvae.text import corpus
from seqvae.text.corpus import Example
from seqvae.text.store import FORMAT, TokenStore, appearing, build_store, open_store, writing_to
from seqvae.text.tokenizer import TOKENIZERS, TextTokenizer

DEFAULT_CORPUS = "sentences"
Categories = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class TextData:
    """A tokenizer and the splits it made."""

    tokenizer: TextTokenizer
    train: TokenStore
    valid: TokenStore
    test: TokenStore | None

    @property
    def splits(self) -> dict[str, TokenStore]:
        """The splits there are, by name."""
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: store for name, store in named.items() if store is not None}

    def report(self) -> list[str]:
        """What became of the data, a line for each split and one for the vocabulary."""
        lines = [f"{name}: {describe(store)}" for name, store in self.splits.items()]
        return [*lines, f"vocabulary: {self.tokenizer.vocab_size:,} tokens"]


def describe(store: TokenStore) -> str:
    """What became of one file, in plain words."""
    c = store.counts
    words = [f"{c.kept:,} sentences, {c.tokens:,} tokens"]
    words += [f"{c.empty:,} empty ones left out"] if c.empty else []
    words += [f"{c.truncated:,} cut to the longest allowed"] if c.truncated else []
    words += [f"{c.dropped:,} too long and left out"] if c.dropped else []
    return ", ".join([*words, f"{100 * c.unknown / max(c.tokens, 1):.2f} % unknown tokens"])


@dataclass(frozen=True)
class _Split:
    """A stream of examples that can be started again, and what decides its content."""

    name: str
    examples: Callable[[], Iterator[Example]]
    key: str
    labels: tuple[str, ...] = ()
    categories: Categories | None = None


def load_data(data: DataConfig, tokenizer: Component | TextTokenizer) -> TextData:
    """The splits as token stores; the tokenizer is trained on the training split where it is a config block.

    Stores and trained tokenizers are cached by content in `cache_root()`: the same files are not
    tokenized twice.

    Raises:
        UserError: whatever is wrong with the files, the labels or the tokenizer; no sentence to train on.
    """
    splits = _splits(data)
    if isinstance(tokenizer, Component):
        tokenizer = _cached_tokenizer(tokenizer, splits["train"])
    train = _cached_store(splits["train"], tokenizer, data, None)
    _check_filled(train, data)
    held = {
        name: _cached_store(split, tokenizer, data, train.categories)
        for name, split in splits.items()
        if name != "train"
    }
    if not len(held["valid"]):
        raise UserError("the validation data hold no sentence: give more data or another file")
    return TextData(tokenizer, train, held["valid"], held.get("test"))


def load_examples(
    source: str, tokenizer: TextTokenizer, data: DataConfig, categories: Categories | None = None
) -> TokenStore:
    """One other file, read as `data` says; plain lines have no labels. `categories` are those of training.

    Raises:
        UserError: whatever is wrong with the file; no sentence in it.
    """
    labels = tuple(data.labels) if corpus.is_table(source) else ()
    store = _cached_store(_file_split("data", source, data, labels), tokenizer, data, categories)
    _check_filled(store, data, source)
    return store


def cache_root() -> Path:
    """`$SEQVAE_CACHE`, or `seqvae` in the user's cache folder."""
    if root := os.environ.get("SEQVAE_CACHE"):
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqvae"


def _check_filled(store: TokenStore, data: DataConfig, source: str | None = None) -> None:
    if len(store):
        return
    c, name = store.counts, source or data.name or data.train
    raise UserError(
        f"{name} leaves no sentence ({c.empty} empty, {c.dropped} longer than max_tokens {data.max_tokens}): "
        "give more text, or raise max_tokens"
    )


def _splits(data: DataConfig) -> dict[str, _Split]:
    """Train, valid and, where there is one, test."""
    if data.name and data.train:
        raise UserError(f"data has both name {data.name!r} and train {data.train!r}: give one of them")
    splits = _file_splits(data, data.train) if data.train else _embedded_splits(data)
    if data.examples is not None:
        splits["train"] = _first(splits["train"], data.examples)
    return splits


def _first(split: _Split, n: int) -> _Split:
    def examples() -> Iterator[Example]:
        return itertools.islice((e for e in split.examples() if e.text), n)

    return _Split(split.name, examples, f"{split.key}|first {n}", split.labels, split.categories)


def _embedded_splits(data: DataConfig) -> dict[str, _Split]:
    name = data.name or DEFAULT_CORPUS
    made = lookup("corpus", CORPORA, name)
    for label in data.labels:
        if label not in made.factors:
            raise UserError(f"corpus {name!r} has no label {label!r}: {suggest(label, made.factors)}")
    splits = {part: _embedded(name, made, part, tuple(data.labels)) for part in ("train", "valid", "test")}
    given = {"valid": data.valid, "test": data.test}
    files = {k: _file_split(k, v, data, tuple(data.labels)) for k, v in given.items() if v}
    return splits | files


def _embedded(name: str, made: SentenceCorpus, part: str, labels: tuple[str, ...]) -> _Split:
    chosen = [(list(made.factors).index(label), made.factors[label]) for label in labels]

    def examples() -> Iterator[Example]:
        for text, codes in made.examples(part):
            yield Example(text, tuple(values[codes[i]] for i, values in chosen))

    key = f"embedded {name} {part} {made.sizes} {made.seed} {made.factors}"
    return _Split(part, examples, key, labels, {label: made.factors[label] for label in labels})


def _file_split(name: str, source: str, data: DataConfig, labels: tuple[str, ...]) -> _Split:
    def examples() -> Iterator[Example]:
        return corpus.read_corpus(source, text_column=data.text_column, labels=labels)

    key = f"{corpus.content_hash(source, _remembered_hash)}|{data.text_column}|{labels}"
    return _Split(name, examples, key, labels)


def _file_splits(data: DataConfig, source: str) -> dict[str, _Split]:
    labels = tuple(data.labels)
    whole = _file_split("train", source, data, labels)
    named = {"valid": data.valid, "test": data.test}
    given = {k: v or corpus.heldout_source(source, k) for k, v in named.items()}
    files = {k: _file_split(k, v, data, labels) for k, v in given.items() if v}
    shares = {"valid": data.valid_share, "test": data.test_share}
    wanted = {k: share for k, share in shares.items() if k not in files and (share or k == "valid")}
    if not wanted:
        return {"train": whole, **files}
    return {**_shared_out(whole, wanted, data, source), **files}


def _shared_out(whole: _Split, shares: dict[str, float], data: DataConfig, source: str) -> dict[str, _Split]:
    """The training part and those set aside, all from one stream; rows are chosen when first needed."""
    if sum(shares.values()) >= 1:
        raise UserError(
            f"valid_share and test_share add up to {sum(shares.values()):g}: leave some to train on"
        )
    chosen: dict[str, npt.NDArray[np.int64]] = {}

    def rows() -> dict[str, npt.NDArray[np.int64]]:
        if not chosen:
            n = sum(1 for example in whole.examples() if example.text)
            chosen.update(heldout_rows(n, shares, data.max_heldout, data.split_seed, source))
        return chosen

    def part(name: str) -> _Split:
        def examples() -> Iterator[Example]:
            held = rows()
            if name == "train":
                return _rows_of(whole.examples(), np.sort(np.concatenate([*held.values()])), inside=False)
            return _rows_of(whole.examples(), held[name], inside=True)

        key = f"{whole.key}|{name} of {shares} {data.max_heldout} {data.split_seed}"
        return _Split(name, examples, key, whole.labels)

    return {name: part(name) for name in ("train", *shares)}


def heldout_rows(
    n: int, shares: Mapping[str, float], most: int, seed: int, where: str = "the data"
) -> dict[str, npt.NDArray[np.int64]]:
    """Which of `n` rows each part gets, sorted: those of the smallest keyed hashes, part after part.

    A part gets its share, at least 1 row and no more than `most`. Memory does not grow with `n`.

    Raises:
        UserError: too few rows to share out.
    """
    sizes = {name: min(max(int(n * share), 1), most) for name, share in shares.items()}
    total = sum(sizes.values())
    if total >= n:
        raise UserError(
            f"{where} has {n} sentences, too few to set {' and '.join(sizes)} data aside: add more"
        )
    smallest = _smallest_hashes(n, total, seed)
    ends = np.cumsum(list(sizes.values()))
    return {name: np.sort(smallest[e - sizes[name] : e]) for name, e in zip(sizes, ends, strict=True)}


def _smallest_hashes(n: int, k: int, seed: int, chunk: int = 1 << 20) -> npt.NDArray[np.int64]:
    """The `k` rows below `n` whose hashes are the smallest, in the order of their hashes."""
    best = np.zeros(0, np.uint64)
    rows = np.zeros(0, np.int64)
    for start in range(0, n, chunk):
        more = np.arange(start, min(start + chunk, n))
        best, rows = np.concatenate([best, _hashed(more, seed)]), np.concatenate([rows, more])
        order = np.lexsort((rows, best))[:k]
        best, rows = best[order], rows[order]
    return rows


def _hashed(rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """SplitMix64 (Steele 2014) of (seed, row)."""
    x = (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x ^= np.uint64((seed * 0xD1342543DE82EF95 + 1) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _rows_of(examples: Iterator[Example], rows: npt.NDArray[np.int64], inside: bool) -> Iterator[Example]:
    """The examples with text whose number is, or is not, among `rows`."""
    chosen = set(rows.tolist())
    filled = (example for example in examples if example.text)
    return (example for i, example in enumerate(filled) if (i in chosen) == inside)


def _key(*parts: object) -> str:
    return hashlib.blake2b("\n".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def _cached_store(
    split: _Split, tokenizer: TextTokenizer, data: DataConfig, categories: Categories | None
) -> TokenStore:
    known = split.categories or categories
    named = json.dumps({k: list(v) for k, v in (known or {}).items()})
    key = _key(FORMAT, split.key, split.labels, named, tokenizer.fingerprint, data.max_tokens, data.overlong)
    folder = cache_root() / "tokens" / key
    if (folder / "meta.json").exists():
        return open_store(folder)
    return build_store(
        split.examples(),
        tokenizer,
        folder,
        max_tokens=data.max_tokens,
        overlong=data.overlong,
        label_names=split.labels,
        categories=known,
    )


def _cached_tokenizer(spec: Component, train: _Split) -> TextTokenizer:
    """Trained on the training split, or read from the cache (a tokenizer file is just read)."""

    def texts() -> Iterator[str]:
        return (example.text for example in train.examples())

    if spec.name == "file" or spec.name not in TOKENIZERS:
        return construct("tokenizer", TOKENIZERS, spec)
    folder = cache_root() / "tokenizers" / _key(FORMAT, train.key, spec.model_dump_json())
    if (folder / "tokenizer.json").exists():
        return TextTokenizer.load(folder)
    tokenizer = construct("tokenizer", TOKENIZERS, spec, texts=texts())
    with appearing(folder, "tokenizer.json") as work:
        tokenizer.save(work)
    return tokenizer


def _remembered_hash(path: Path) -> str:
    """The hash of a file's bytes, read again only after its size or time changed."""
    stat = path.stat()
    state = f"{stat.st_size} {stat.st_mtime_ns}"
    note = cache_root() / "sources" / _key(path.resolve())
    with contextlib.suppress(OSError, ValueError):
        before, _, digest = note.read_text(encoding="utf-8").partition("\n")
        if before == state and digest:
            return digest
    digest = corpus.file_hash(path)
    work = note.with_name(f".{note.name}.{uuid.uuid4().hex[:8]}")
    with writing_to(note):
        note.parent.mkdir(parents=True, exist_ok=True)
        work.write_text(f"{state}\n{digest}", encoding="utf-8")
        work.replace(note)
    return digest
