"""`TextTokenizer`: text to token ids and back, saving and loading."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from seqvae.data.text.batch import SpecialIds, TextBatch
from seqvae.data.text.source import SourceFacts
from seqvae.data.text.spelling import SpellingModel
from seqvae.data.text.tokenizer_files import read_tokenizer, write_tokenizer

UNKNOWN_WORDS = ("<unk>", "_UNK")  # forms of removed words in PTB and Yahoo
SEPARATORS = "\x1c\x1d\x1e\x1f"  # white space in Python only, not for the tokenizers library


class TextTokenizer:
    """A `tokenizers.Tokenizer` with its four special ids; `vocab_size` sizes the embeddings."""

    unit = "tokens"

    def __init__(self, tokenizer: Tokenizer, special: SpecialIds) -> None:
        tokenizer.encode_special_tokens = True  # a `</s>` in the input is plain text
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.special = special
        self._size = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
        self._forbidden = {special.pad, special.bos, special.eos} - {special.unk}
        self.unk_is_word = True  # whether the training text itself writes `<unk>`, as PTB does
        self.repeats = 0  # times that the training text has a 4-gram in a sentence at most; 0: not known
        self._words = _words(tokenizer, special.unk)
        self.source: SourceFacts | None = None  # of an encoder that does not read these tokens

    def with_source(self, source: SourceFacts | None) -> TextTokenizer:
        """A copy of the tokenizer for a run whose encoder has its own input."""
        other = copy.copy(self)
        other.source = source
        return other

    @property
    def sizes(self) -> dict[str, Any]:
        """Constructor arguments of encoders and decoders that depend on the text."""
        source = {} if self.source is None else {"source": self.source}
        return {"vocab_size": self.vocab_size, "special": self.special, **source}

    @property
    def metadata(self) -> dict[str, Any]:
        """The same as JSON values."""
        source = {} if self.source is None else {"source": self.source.card}
        return {"vocab_size": self.vocab_size, "special": asdict(self.special), **source}

    @property
    def library(self) -> Tokenizer:
        """The tokenizer of the library `tokenizers`."""
        return self._tokenizer

    @property
    def vocab_size(self) -> int:
        """V, special tokens included: one more than the largest id."""
        return self._size

    @property
    def fingerprint(self) -> str:
        """A hash of everything that affects the token ids of a text."""
        content = f"{self._tokenizer.to_str()}|{self.special}"
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    @property
    def vocabulary(self) -> str:
        """A hash of the vocabulary; weights are only valid with the same one."""
        words = sorted(self._tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda word: word[1])
        return hashlib.blake2b(repr(words).encode(), digest_size=16).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without start, end or padding."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; see `encode`."""
        flat, lengths = self.encode_flat(texts)
        ends = np.cumsum(lengths).tolist()
        ids = flat.tolist()
        return [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def encode_flat(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The concatenated ids of all texts, and the number of ids per text."""
        rows, known = self._rows(texts)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        tokens: Iterable[Any] = itertools.chain.from_iterable(rows)
        if known is not None:
            tokens = map(known.get, tokens, itertools.repeat(self.special.unk))
        flat = np.fromiter(tokens, np.int64, int(lengths.sum()))
        for index in self._forbidden:
            flat[flat == index] = self.special.unk
        return flat, lengths

    def _rows(self, texts: Sequence[str]) -> tuple[list[Any], dict[str, int] | None]:
        """Each text's ids and None; or, six times faster, its words and the vocabulary."""
        whole = "".join(texts)
        if self._words is not None and not any(c in whole for c in SEPARATORS):
            return [text.split() for text in texts], self._words
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings], None

    def pieces(self, text: str) -> list[str]:
        """The part of `text` that each of its tokens covers."""
        if self._words is not None and not any(c in text for c in SEPARATORS):
            return text.split()
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return [text[start:end] for start, end in offsets]

    def unknown(self, texts: Sequence[str], ids: Sequence[Sequence[int]] | None = None) -> list[list[bool]]:
        """Which tokens of each text are out of vocabulary; `ids` are those of `encode_batch`.

        A literal `<unk>` does not count if the training text contained it too.
        """
        ids = self.encode_batch(texts) if ids is None else ids
        return [self._unknown(text, row) for text, row in zip(texts, ids, strict=True)]

    def _unknown(self, text: str, row: Sequence[int]) -> list[bool]:
        if self.special.unk not in row:
            return [False] * len(row)
        words = self.written_unknown if self.unk_is_word else frozenset()
        pairs = zip(self.pieces(text), row, strict=False)  # a row may be truncated
        return [i == self.special.unk and piece not in words for piece, i in pairs]

    @cached_property
    def written_unknown(self) -> frozenset[str]:
        """Forms of a removed word in texts."""
        return frozenset([self.token(self.special.unk), *UNKNOWN_WORDS])

    @cached_property
    def spelling(self) -> SpellingModel:
        """A character model of the vocabulary's words, for the cost of spelling unknown ones."""
        special = {self.token(i) for i in asdict(self.special).values()}
        return SpellingModel(self._tokenizer.get_vocab(with_added_tokens=False).keys() - special)

    def characters(self, text: str, tokens: int) -> int:
        """Number of characters of `text` covered by its first `tokens` tokens."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return int(max((end for _, end in offsets[:tokens]), default=0))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` up to the end token; start and padding are removed, `<unk>` is kept."""
        return self.decode_batch([ids])[0]

    def decode_batch(self, batch: Iterable[Iterable[int]]) -> list[str]:
        """The text of each row of ids; see `decode`."""
        rows = [self._kept(ids) for ids in batch]
        return list(self._tokenizer.decode_batch(rows, skip_special_tokens=False))

    def raw_features(self, batch: TextBatch) -> Tensor:
        """(B, V): counts of each token in each sentence, including `</s>`."""
        counts = torch.zeros(batch.size, self.vocab_size)
        return counts.scatter_add_(1, batch.targets, batch.mask.float())

    def token(self, index: int) -> str:
        """The form of a token in the vocabulary."""
        return self._tokenizer.id_to_token(index) or ""

    def _kept(self, ids: Iterable[int]) -> list[int]:
        special = self.special
        numbers = [int(i) for i in ids]
        if special.bos == special.eos:  # one token for both: the first one is the start
            numbers = numbers[numbers[:1] == [special.bos] :]
        before = itertools.takewhile(lambda i: i != special.eos, numbers)
        return [i for i in before if i not in (special.pad, special.bos)]

    def save(self, folder: str | Path) -> None:
        """Write the files that `load` and `transformers.AutoTokenizer` read.

        No special tokens are added to a sentence, so `AutoTokenizer` gives the same ids as `encode`.
        """
        write_tokenizer(Path(folder), self._tokenizer, self.special, self.unk_is_word, self.repeats)

    @classmethod
    def load(cls, path: str | Path) -> TextTokenizer:
        """Read a folder with a `tokenizer.json`, or that file itself.

        The special ids are those in the tokenizer's own files, otherwise tokens with common names; missing
        ones are added.

        Raises:
            UserError: no such file, or not a tokenizer.
        """
        tokenizer, special, settings = read_tokenizer(Path(path))
        found = cls(tokenizer, special)
        found.unk_is_word, found.repeats = settings
        return found


def _words(tokenizer: Tokenizer, unknown: int) -> dict[str, int] | None:
    """The vocabulary if tokens are exactly the words between white space, else None."""
    model, split = tokenizer.model, tokenizer.pre_tokenizer
    if not isinstance(model, models.WordLevel) or not isinstance(split, pre_tokenizers.WhitespaceSplit):
        return None
    added = tokenizer.get_added_tokens_decoder().values()
    known: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)
    plain = tokenizer.normalizer is None and all(token.special for token in added)
    return known if plain and known.get(model.unk_token) == unknown else None
