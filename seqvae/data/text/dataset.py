"""From a data block of a config to token files: splits, tokenizer and caches by content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from seqvae.config.registry import construct, lookup
from seqvae.config.schema import Component, TextDataConfig
from seqvae.data.content import cache_root, content_key
from seqvae.data.input_files import in_words, regular_files
from seqvae.data.labels import subsample_labels
from seqvae.data.synthetic import CORPORA, SentenceCorpus
from seqvae.data.text import corpus
from seqvae.data.text.cache import atomic_folder
from seqvae.data.text.choosing import MANY_UNKNOWN, advice, unknown_share
from seqvae.data.text.detokenize import detokenized
from seqvae.data.text.readers import Example
from seqvae.data.text.repetition import usual_repeats
from seqvae.data.text.source import SourceReader
from seqvae.data.text.splits import (
    Categories,
    Split,
    file_split,
    file_splits,
    read_options,
    take_first,
    with_vectors_of,
)
from seqvae.data.text.token_store import FORMAT, TokenStore, open_store
from seqvae.data.text.token_writer import build_store
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.data.text.tokenizer_training import TOKENIZERS
from seqvae.errors import UserError, suggest

DEFAULT_CORPUS = "sentences"
_VERSION = "-2"  # of a store's files; the key before it stays what runs remember


@dataclass(frozen=True)
class TextData:
    """A tokenizer and the splits it made."""

    tokenizer: TextTokenizer
    train: TokenStore
    valid: TokenStore
    test: TokenStore | None
    advice: str = ""  # the better tokenizer, where this one leaves many tokens unknown
    forced: bool = False  # whether it is to be taken all the same
    notes: tuple[str, ...] = ()  # what somebody should know of it besides

    @property
    def fingerprint(self) -> str:
        """The content of the training split: the same files, tokenizer and settings give the same one."""
        return self.train.folder.name.partition("-")[0]

    @property
    def codec(self) -> TextTokenizer:
        """The tokenizer: it makes batches of sentences, and sentences of ids."""
        return self.tokenizer

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the columns of `batch.labels`."""
        return self.train.label_names

    @property
    def splits(self) -> dict[str, TokenStore]:
        """The splits there are, by name."""
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: store for name, store in named.items() if store is not None}

    def report(self) -> list[str]:
        """What became of the data, a line for each split and one for the vocabulary."""
        notes = dict.fromkeys(note for store in self.splits.values() for note in store.notes)
        lines = [*notes, *(f"{name}: {describe(store)}" for name, store in self.splits.items())]
        return [*lines, f"vocabulary: {self.tokenizer.vocab_size:,} tokens", *self.notes]

    def split_fingerprint(self, name: str) -> dict[str, str]:
        """Hashes of the examples and of each label of a split, by which a run knows it again."""
        return self.splits[name].fingerprint

    def check(self) -> list[str]:
        """Warnings before a training: that many held-out tokens are unknown, and which tokenizer is better.

        Raises:
            UserError: more than half of them are, and nobody said that it shall be so (`force`).
        """
        share = unknown_share(self.valid)
        if share < MANY_UNKNOWN:
            return []
        line = f"{share:.1%} of the validation tokens are unknown to the tokenizer"
        if share > UNREADABLE and not self.forced:
            raise UserError(f"{line}: {self.advice}, or add tokenizer.force=true to train all the same")
        return [f"{line}, which no number rewards: {self.advice}"]

    def collapse_cause(self) -> str | None:
        """The tokenizer's unknown tokens, where most of the validation tokens are such."""
        share = unknown_share(self.valid)
        if share < UNREADABLE:
            return None
        return (
            f"{100 * share:.0f} % of the validation tokens are unknown to the tokenizer, so that sentences "
            "look alike: take another one, as tokenizer={name: bpe} or {name: char}"
        )


UNREADABLE = 0.5  # share of unknown tokens from which sentences look alike whatever the model


def _unforced(tokenizer: Component) -> Component:
    """The tokenizer without the word that it shall be taken whatever it makes of the corpus."""
    return Component(name=tokenizer.name, **{k: v for k, v in tokenizer.arguments.items() if k != "force"})


def describe(store: TokenStore) -> str:
    """What became of one split, in plain words."""
    c = store.counts
    words = [f"{c.kept:,} sentences, {c.tokens:,} tokens"]
    words += [f"{c.empty:,} empty ones left out"] if c.empty else []
    words += [f"{c.truncated:,} cut to the longest allowed"] if c.truncated else []
    words += [f"{c.dropped:,} too long and left out"] if c.dropped else []
    words += [f"{100 * c.unknown / max(c.tokens, 1):.2f} % unknown tokens"]
    words += [f"{c.literal:,} written as the unknown token, a word like others here"] if c.literal else []
    return ", ".join([*words, *store.lost_labels])


def load_data(
    data: TextDataConfig, tokenizer: Component | TextTokenizer, source: SourceReader | None = None
) -> TextData:
    """The splits as token stores; the tokenizer is trained on the training split where it is a config block.

    Stores and trained tokenizers are cached by content in `cache_root()`: the same files are not
    tokenized twice. `source` reads what the encoder gets, where that is not the tokens.

    Raises:
        UserError: whatever is wrong with the files, the labels or the tokenizer; no sentence to train on.
    """
    splits = splits_of(data)
    new, forced = isinstance(tokenizer, Component), False
    if isinstance(tokenizer, Component):
        forced = bool(tokenizer.arguments.get("force"))
        tokenizer = cached_tokenizer(tokenizer, splits["train"])
    train = _cached_store(splits["train"], tokenizer, data, None, training=True, source=source)
    if new:
        tokenizer.unk_is_word = train.counts.literal > 0
    _check_filled(train, data)
    if new:
        tokenizer.repeats = usual_repeats(train)
    if data.num_labeled is not None:
        train = replace(train, labels=subsample_labels(train.labels, data.num_labeled, data.split_seed))
    known = {name: train.categories.get(name, ()) for name in train.label_names}
    held = {
        name: _cached_store(split, tokenizer, data, known, source=source)
        for name, split in splits.items()
        if name != "train"
    }
    if not len(held["valid"]):
        raise UserError("the validation data hold no sentence: give more data or another file")
    better = advice(splits, held["valid"]) if new else ""
    facts = train.source.facts() if train.source else None
    tokenizer = tokenizer.with_source(facts) if facts else tokenizer
    return TextData(tokenizer, train, held["valid"], held.get("test"), better, forced)


def load_examples(
    source: str | Sequence[str],
    tokenizer: TextTokenizer,
    data: TextDataConfig,
    categories: Categories | None = None,
    reader: SourceReader | None = None,
    vectors: str | None = None,
) -> TokenStore:
    """One other source, or several, read as `data` says; plain lines have no labels.

    `categories` are those of training, without names for labels that are numbers. A label without a column is
    missing.

    `reader` reads what the encoder gets, where that is not the tokens; `vectors` names a file with one row
    per example.

    Raises:
        UserError: whatever is wrong with the file; no sentence in it.
    """
    source = regular_files(source)
    labels = tuple(data.labels) if corpus.is_table(source, read_options(data)) else ()
    split = with_vectors_of(file_split("data", source, data, labels, True), vectors, data.vector_column)
    split = detokenized(split) if data.detokenize else split
    store = _cached_store(split, tokenizer, data, categories, source=reader)
    _check_filled(store, data, source)
    return store


def _check_filled(store: TokenStore, data: TextDataConfig, source: str | Sequence[str] | None = None) -> None:
    if len(store):
        return
    c, name = store.counts, in_words(source or data.name or data.train or DEFAULT_CORPUS)
    raise UserError(
        f"{name} leaves no sentence ({c.empty} empty, {c.dropped} longer than max_tokens {data.max_tokens}): "
        "give more text, or raise max_tokens"
    )


def splits_of(data: TextDataConfig) -> dict[str, Split]:
    """Train, valid and, where there is one, test."""
    if data.name and data.train:
        raise UserError(f"data has both name {data.name!r} and train {data.train!r}: give one of them")
    if data.vectors and not data.train:
        raise UserError(f"data.vectors got {data.vectors!r} without data.train: name the text of each row")
    splits = file_splits(data, data.train) if data.train else _embedded_splits(data)
    if data.examples is not None:
        splits["train"] = take_first(splits["train"], data.examples)
    return {name: detokenized(split) for name, split in splits.items()} if data.detokenize else splits


def _embedded_splits(data: TextDataConfig) -> dict[str, Split]:
    name = data.name or DEFAULT_CORPUS
    made = lookup("corpus", CORPORA, name)
    for label in data.labels:
        if label not in made.factors:
            raise UserError(f"corpus {name!r} has no label {label!r}: {suggest(label, made.factors)}")
    splits = {part: _embedded(name, made, part, tuple(data.labels)) for part in ("train", "valid", "test")}
    given = {"valid": data.valid, "test": data.test}
    files = {k: file_split(k, v, data, tuple(data.labels)) for k, v in given.items() if v}
    return splits | files


def _embedded(name: str, made: SentenceCorpus, part: str, labels: tuple[str, ...]) -> Split:
    chosen = [(list(made.factors).index(label), made.factors[label]) for label in labels]

    def examples() -> Iterator[Example]:
        for text, codes in made.examples(part):
            yield Example(text, tuple(values[codes[i]] for i, values in chosen))

    key = f"embedded {name} {part} {made.sizes} {made.seed} {made.factors}"
    return Split(part, examples, key, labels, {label: made.factors[label] for label in labels})


def _cached_store(
    split: Split,
    tokenizer: TextTokenizer,
    data: TextDataConfig,
    categories: Categories | None,
    training: bool = False,
    source: SourceReader | None = None,
) -> TokenStore:
    known = split.categories or categories
    named = json.dumps({k: list(v) for k, v in (known or {}).items()})
    parts = [FORMAT, split.key, split.labels, named, tokenizer.fingerprint, data.max_tokens, data.overlong]
    key = content_key(*parts, *([source.fingerprint] if source else []))
    kind = "-train" if training else "" if tokenizer.unk_is_word else "-unk"
    folder = cache_root() / "tokens" / f"{key}{_VERSION}{kind}"
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
        notes=split.notes,
        training=training,
        source=source,
    )


def cached_tokenizer(spec: Component, train: Split) -> TextTokenizer:
    """Trained on the training split, or read from the cache (a tokenizer file is just read)."""
    spec = _unforced(spec)

    def texts() -> Iterator[str]:
        return (example.text for example in train.examples())

    if spec.name == "file" or spec.name not in TOKENIZERS:
        return construct("tokenizer", TOKENIZERS, spec)
    folder = cache_root() / "tokenizers" / content_key(FORMAT, train.key, spec.model_dump_json())
    if (folder / "tokenizer.json").exists():
        return TextTokenizer.load(folder)
    tokenizer = construct("tokenizer", TOKENIZERS, spec, texts=texts())
    with atomic_folder(folder, "tokenizer.json") as work:
        tokenizer.save(work)
    return tokenizer
