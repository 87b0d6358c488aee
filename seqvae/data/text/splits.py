"""The splits of a corpus as streams of examples: given files, own splits, or held-out rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from seqvae.config.schema import TextDataConfig
from seqvae.data.content import remembered_hash
from seqvae.data.input_files import expand, in_words
from seqvae.data.labels import Categories
from seqvae.data.remote import is_url, url_version
from seqvae.data.splits import heldout_rows, heldout_shares, heldout_sources
from seqvae.data.text import corpus
from seqvae.data.text.readers import Example, ReadOptions
from seqvae.data.text.vectors import vector_file, with_vectors
from seqvae.errors import UserError
from seqvae.keyed_noise import GOLDEN, mix


@dataclass(frozen=True)
class Split:
    """A restartable stream of examples, and the key of its content."""

    name: str
    examples: Callable[[], Iterator[Example]]
    key: str
    labels: tuple[str, ...] = ()
    categories: Categories | None = None
    notes: dict[str, None] = field(default_factory=dict)  # notes from reading, each once
    shards: tuple[Split, ...] = ()  # parts that become a store each; `examples` is then a sample of them


def take_first(split: Split, n: int) -> Split:
    """The first `n` examples with text."""

    def examples() -> Iterator[Example]:
        return itertools.islice((e for e in split.examples() if e.text), n)

    return replace(split, examples=examples, key=f"{split.key}|first {n}")


def read_options(data: TextDataConfig, labels: Sequence[str] = (), lenient: bool = False) -> ReadOptions:
    """How a config's files are read, with the columns of these labels."""
    columns = tuple(data.label_columns.get(label, label) for label in labels)
    return ReadOptions(
        data.text_column,
        columns,
        encoding=data.encoding,
        delimiter=data.delimiter,
        quotes=data.quotes,
        format=data.format,
        lenient=lenient,
    )


def file_split(
    name: str,
    source: str | Sequence[str],
    data: TextDataConfig,
    labels: tuple[str, ...],
    lenient: bool = False,
) -> Split:
    """A split of all rows of one source or several, keyed by their content's hash."""
    notes: dict[str, None] = {}
    options = replace(read_options(data, labels, lenient), note=notes.setdefault)

    def examples() -> Iterator[Example]:
        return corpus.read_corpus(source, options)

    key = f"{corpus.content_hash(source, remembered_hash)}|{data.text_column}|{options.labels}{options.key}"
    return Split(name, examples, key, labels, notes=notes)


def with_vectors_of(split: Split, file: str | None, column: str) -> Split:
    """The split with each example's row of a file of vectors; unchanged without a file."""
    if file is None:
        return split

    def examples() -> Iterator[Example]:
        return with_vectors(split.examples(), file, column)

    content = url_version(file) if is_url(file) else remembered_hash(vector_file(file))
    return replace(split, examples=examples, key=f"{split.key}|{content}|{column}")


def _matrix(data: TextDataConfig) -> str | None:
    """The one file with the vectors of a corpus that is read as one store.

    Raises:
        UserError: several, which do not belong to as many files.
    """
    files = [] if data.vectors is None else expand(data.vectors)
    if len(files) > 1:
        raise UserError(
            f"data.vectors names {len(files)} files and data.train another number: give one for each, or one "
            "for all"
        )
    return files[0] if files else None


def file_splits(data: TextDataConfig, source: str | Sequence[str]) -> dict[str, Split]:
    """Train, valid and test of a source: from given files, its own splits, or held-out rows.

    Raises:
        UserError: a missing source, or fractions that leave nothing for training.
    """
    labels = tuple(data.labels)
    whole = with_vectors_of(file_split("train", source, data, labels), _matrix(data), data.vector_column)
    files = given_splits(data, source)
    wanted = heldout_shares(data, files)
    if not wanted:
        return {"train": whole, **files}
    return {**_split_stream(whole, wanted, data, source), **files}


def given_splits(data: TextDataConfig, source: str | Sequence[str] | None = None) -> dict[str, Split]:
    """Valid and test, where they are given as files or `source` has such parts."""
    held = heldout_sources(data, lambda part: corpus.find_heldout_source(source, part) if source else None)
    vectors = {"valid": data.valid_vectors, "test": data.test_vectors}
    labels = tuple(data.labels)
    return {
        k: with_vectors_of(file_split(k, v, data, labels), vectors[k], data.vector_column)
        for k, v in held.items()
    }


def _split_stream(
    whole: Split, shares: dict[str, float], data: TextDataConfig, source: str | Sequence[str]
) -> dict[str, Split]:
    """The training and held-out splits of one stream; rows are chosen when first needed."""
    chosen: dict[str, npt.NDArray[np.int64]] = {}

    def rows() -> dict[str, npt.NDArray[np.int64]]:
        if not chosen:
            n = sum(1 for example in whole.examples() if example.text)
            given = (n, shares, data.max_heldout, data.split_seed, hash_rows, in_words(source))
            chosen.update(heldout_rows(*given, "sentences"))
        return chosen

    def part(name: str) -> Split:
        def examples() -> Iterator[Example]:
            held = rows()
            if name == "train":
                return _rows_of(whole.examples(), np.sort(np.concatenate([*held.values()])), inside=False)
            return _rows_of(whole.examples(), held[name], inside=True)

        key = f"{whole.key}|{name} of {shares} {data.max_heldout} {data.split_seed}"
        return replace(whole, name=name, examples=examples, key=key)

    return {name: part(name) for name in ("train", *shares)}


def hash_rows(rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """SplitMix64 (Steele 2014) of (seed, row)."""
    x = (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    return mix(x ^ np.uint64((seed * 0xD1342543DE82EF95 + 1) % 2**64))


def _rows_of(examples: Iterator[Example], rows: npt.NDArray[np.int64], inside: bool) -> Iterator[Example]:
    """The examples with text whose index is (`inside`) or is not among `rows`."""
    chosen = set(rows.tolist())
    filled = (example for example in examples if example.text)
    return (example for i, example in enumerate(filled) if (i in chosen) == inside)
