"""Which token store a split becomes: its name, by everything that decides its content, and how it is made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from seqvae.config.schema import TextDataConfig
from seqvae.data.cache import cache_root, content_key
from seqvae.data.labels import Categories
from seqvae.data.text.source import SourceReader
from seqvae.data.text.splits import Split
from seqvae.data.text.token_store import FORMAT, TokenStore, open_store
from seqvae.data.text.token_writer import build_store
from seqvae.data.text.tokenizer import TextTokenizer

_VERSION = "-2"  # of a store's files; the key before it stays what runs remember


@dataclass(frozen=True)
class StoreMaker:
    """Makes token stores of splits, all in one way.

    Args:
        tokenizer: makes tokens of texts.
        data: how much of a text is kept.
        categories: the names that training gave to the values of labels.
        training: whether the stores are to train on.
        source: reads what the encoder gets, where that is not the tokens.
    """

    tokenizer: TextTokenizer
    data: TextDataConfig
    categories: Categories | None = None
    training: bool = False
    source: SourceReader | None = None

    def name(self, split: Split) -> str:
        """The name of a split's store."""
        known = split.categories or self.categories
        named = json.dumps({k: list(v) for k, v in (known or {}).items()})
        parts = [FORMAT, split.key, split.labels, named, self.tokenizer.fingerprint]
        parts += [self.data.max_tokens, self.data.overlong]
        key = content_key(*parts, *([self.source.fingerprint] if self.source else []))
        kind = "-train" if self.training else "" if self.tokenizer.unk_is_word else "-unk"
        return f"{key}{_VERSION}{kind}"

    def build(self, split: Split, folder: Path) -> TokenStore:
        """A split's store in a new folder.

        Raises:
            UserError: as `build_store`, or whatever is wrong with the files of the split.
        """
        return build_store(
            split.examples(),
            self.tokenizer,
            folder,
            max_tokens=self.data.max_tokens,
            overlong=self.data.overlong,
            label_names=split.labels,
            categories=split.categories or self.categories,
            notes=split.notes,
            training=self.training,
            source=self.source,
        )

    def cached(self, split: Split) -> TokenStore:
        """A split's store in the cache, made where it is not there."""
        folder = cache_root() / "tokens" / self.name(split)
        if (folder / "meta.json").exists():
            return open_store(folder)
        return self.build(split, folder)
