"""Text data sets from a config's data block: splits, tokenizer, and caches keyed by content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from seqvae.config.registry import construct
from seqvae.config.schema import Component, TextDataConfig
from seqvae.data.cache import cache_root, content_key, fill_folder
from seqvae.data.input_files import in_words, regular_files
from seqvae.data.labels import Categories
from seqvae.data.preparation import Preparation
from seqvae.data.splits import SplitData, keep_some_labels, require_one_source
from seqvae.data.text import corpus
from seqvae.data.text.choosing import MANY_UNKNOWN, advice, unknown_share
from seqvae.data.text.detokenize import detokenized
from seqvae.data.text.embedded import DEFAULT_CORPUS, embedded_splits
from seqvae.data.text.preparing import load_shards
from seqvae.data.text.repetition import usual_repeats
from seqvae.data.text.sentences import Sentences
from seqvae.data.text.shards import shard_sources, shard_splits
from seqvae.data.text.source import SourceReader
from seqvae.data.text.splits import (
    Split,
    file_split,
    file_splits,
    given_splits,
    read_options,
    take_first,
    with_vectors_of,
)
from seqvae.data.text.stores import StoreMaker
from seqvae.data.text.token_store import FORMAT, TokenStore
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.data.text.tokenizer_training import TOKENIZERS
from seqvae.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TextData(SplitData[Sentences]):
    """A tokenizer and the tokenized splits."""

    tokenizer: TextTokenizer
    train: Sentences
    valid: TokenStore
    test: TokenStore | None = None
    advice: str = ""  # a suggested tokenizer, if this one leaves many tokens unknown
    forced: bool = False  # whether to use it nevertheless (tokenizer.force)
    notes: tuple[str, ...] = ()  # further notes for the user

    @property
    def fingerprint(self) -> str:
        """A hash of the training split, equal for equal files, tokenizer and settings."""
        return self.train.key

    @property
    def codec(self) -> TextTokenizer:
        """The processor of text runs is the tokenizer."""
        return self.tokenizer

    def report(self) -> list[str]:
        """Summary lines: one per split, and one for the vocabulary."""
        notes = dict.fromkeys(note for store in self.splits.values() for note in store.notes)
        lines = [*notes, *(f"{name}: {describe(store)}" for name, store in self.splits.items())]
        return [*lines, f"vocabulary: {self.tokenizer.vocab_size:,} tokens", *self.notes]

    def check(self) -> list[str]:
        """Warn before training if many held-out tokens are unknown, and suggest a tokenizer.

        Raises:
            UserError: more than half of them are unknown, without `tokenizer.force`.
        """
        share = unknown_share(self.valid)
        if share < MANY_UNKNOWN:
            return []
        line = f"{share:.1%} of the validation tokens are unknown to the tokenizer"
        if share > UNREADABLE and not self.forced:
            raise UserError(f"{line}: {self.advice}, or add tokenizer.force=true to train all the same")
        return [f"{line}, which makes metrics misleading: {self.advice}"]

    def collapse_cause(self) -> str | None:
        """A message if most validation tokens are unknown, since then sentences look alike."""
        share = unknown_share(self.valid)
        if share < UNREADABLE:
            return None
        return (
            f"{100 * share:.0f} % of the validation tokens are unknown to the tokenizer, so that sentences "
            "look alike: take another one, as tokenizer={name: bpe} or {name: char}"
        )


UNREADABLE = 0.5  # fraction of unknown tokens from which sentences look alike for every model


def _without_force(tokenizer: Component) -> Component:
    """The tokenizer's config block without `force`."""
    return Component(name=tokenizer.name, **{k: v for k, v in tokenizer.arguments.items() if k != "force"})


def describe(store: Sentences) -> str:
    """Summary of one split in one line."""
    c = store.counts
    words = [f"{c.kept:,} sentences, {c.tokens:,} tokens"]
    words += [f"{c.empty:,} empty ones left out"] if c.empty else []
    words += [f"{c.truncated:,} cut to the longest allowed"] if c.truncated else []
    words += [f"{c.dropped:,} too long and left out"] if c.dropped else []
    words += [f"{100 * c.unknown / max(c.tokens, 1):.2f} % unknown tokens"]
    words += [f"{c.literal:,} written as the unknown token, a word like others here"] if c.literal else []
    return ", ".join([*words, *store.lost_labels])


def load_data(
    data: TextDataConfig,
    tokenizer: Component | TextTokenizer,
    source: SourceReader | None = None,
    how: Preparation | None = None,
) -> TextData:
    """Load the splits as token stores; a tokenizer given as a config block is trained on the training split.

    Stores and trained tokenizers are cached by content in `cache_root()`: the same files are not
    tokenized twice. `source` reads the encoder's input, if that is not the tokens. `how` says which processes
    prepare a corpus of shards.

    Raises:
        UserError: any problem with the files, the labels or the tokenizer; no sentence to train on.
    """
    splits = splits_of(data)
    new, forced = isinstance(tokenizer, Component), False
    if isinstance(tokenizer, Component):
        forced = bool(tokenizer.arguments.get("force"))
        tokenizer = cached_tokenizer(tokenizer, splits["train"])
    train = _training_store(splits["train"], StoreMaker(tokenizer, data, None, True, source), how)
    if new:
        tokenizer.unk_is_word = train.counts.literal > 0
    _check_filled(train, data)
    if new:
        tokenizer.repeats = usual_repeats(train)
    train = keep_some_labels(train, data)
    known = {name: train.categories.get(name, ()) for name in train.label_names}
    make = StoreMaker(tokenizer, data, known, source=source)
    held = {name: make.cached(split) for name, split in splits.items() if name != "train"}
    if not len(held["valid"]):
        raise UserError("the validation data hold no sentence: give more data or another file")
    better = advice(splits, held["valid"]) if new else ""
    facts = train.source.facts() if train.source else None
    tokenizer = tokenizer.with_source(facts) if facts else tokenizer
    return TextData(
        tokenizer=tokenizer,
        train=train,
        valid=held["valid"],
        test=held.get("test"),
        advice=better,
        forced=forced,
    )


def load_examples(
    source: str | Sequence[str],
    tokenizer: TextTokenizer,
    data: TextDataConfig,
    categories: Categories | None = None,
    reader: SourceReader | None = None,
    vectors: str | None = None,
) -> TokenStore:
    """Load other sources with the settings of `data`; plain lines have no labels.

    `categories` are those of training, with no names for labels that are numbers. A label without a column is
    missing.

    `reader` reads the encoder's input, if that is not the tokens; `vectors` names a file with one row
    per example.

    Raises:
        UserError: any problem with the file; no sentence in it.
    """
    source = regular_files(source)
    labels = tuple(data.labels) if corpus.is_table(source, read_options(data)) else ()
    split = with_vectors_of(file_split("data", source, data, labels, True), vectors, data.vector_column)
    split = detokenized(split) if data.detokenize else split
    store = StoreMaker(tokenizer, data, categories, source=reader).cached(split)
    _check_filled(store, data, source)
    return store


def _training_store(train: Split, make: StoreMaker, how: Preparation | None) -> Sentences:
    if not train.shards:
        return make.cached(train)
    return load_shards(train.shards, partial(_shards_of, make.data), make, how or Preparation())


def _shards_of(data: TextDataConfig) -> Sequence[Split]:
    """The shards of a config, in another process."""
    return splits_of(data)["train"].shards


def _check_filled(store: Sentences, data: TextDataConfig, source: str | Sequence[str] | None = None) -> None:
    if len(store):
        return
    c, name = store.counts, in_words(source or data.name or data.train or DEFAULT_CORPUS)
    raise UserError(
        f"{name} leaves no sentence ({c.empty} empty, {c.dropped} longer than max_tokens {data.max_tokens}): "
        "give more text, or raise max_tokens"
    )


def splits_of(data: TextDataConfig) -> dict[str, Split]:
    """The splits of a data block: train, valid and perhaps test."""
    require_one_source(data)
    if data.vectors and not data.train:
        raise UserError(f"data.vectors got {data.vectors!r} without data.train: name the text of each row")
    if groups := shard_sources(data):
        splits = {**shard_splits(data, groups), **given_splits(data)}
    else:
        splits = file_splits(data, data.train) if data.train else embedded_splits(data)
    if data.examples is not None:
        splits["train"] = take_first(splits["train"], data.examples)
    return {name: detokenized(split) for name, split in splits.items()} if data.detokenize else splits


def cached_tokenizer(spec: Component, train: Split) -> TextTokenizer:
    """Train a tokenizer on the training split, or read it from the cache or from a tokenizer file."""
    spec = _without_force(spec)

    def texts() -> Iterator[str]:
        return (example.text for example in train.examples())

    if spec.name == "file" or spec.name not in TOKENIZERS:
        return construct("tokenizer", TOKENIZERS, spec)
    folder = cache_root() / "tokenizers" / content_key(FORMAT, train.key, spec.model_dump_json())
    if (folder / "tokenizer.json").exists():
        return TextTokenizer.load(folder)
    tokenizer = construct("tokenizer", TOKENIZERS, spec, texts=texts())
    with fill_folder(folder, "tokenizer.json") as work:
        tokenizer.save(work)
    return tokenizer
