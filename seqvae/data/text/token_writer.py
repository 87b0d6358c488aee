"""Writing of a token store, chunk by chunk: tokens, sentence starts, labels and counts."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Literal

import numpy as np

from seqvae.data.cache import fill_folder
from seqvae.data.label_columns import LabelColumn
from seqvae.data.text.readers import Example
from seqvae.data.text.source import SourceReader, SourceWriter
from seqvae.data.text.token_store import FORMAT, Array, Counts, TokenStore, open_store
from seqvae.data.text.tokenizer import TextTokenizer

_CHUNK = 4096  # sentences


def build_store(
    examples: Iterable[Example],
    tokenizer: TextTokenizer,
    folder: str | Path,
    *,
    max_tokens: int,
    overlong: Literal["truncate", "drop"] = "truncate",
    label_names: Sequence[str] = (),
    categories: Mapping[str, Sequence[str]] | None = None,
    notes: Iterable[str] = (),
    training: bool = False,
    source: SourceReader | None = None,
) -> TokenStore:
    """Tokenize `examples` chunk by chunk into `folder`, atomically.

    Args:
        examples: the rows of a split.
        tokenizer: the tokenizer.
        folder: where the store is made.
        max_tokens: maximum tokens per sentence, without `</s>`.
        overlong: truncate or drop longer sentences.
        label_names: names of the examples' labels.
        categories: names of each label's values in training, empty for numbers (other values are then
            missing labels); a label without an entry gets its own names, sorted.
        notes: notes from reading, complete once all examples are read.
        training: whether it is the training split: then spelling costs are not computed, and each `<unk>`
            written in the text counts as a word (in other splits only if the training text has one).
        source: reads the encoder's input from each truncated text, if that is not the tokens.

    Raises:
        UserError: no room on the disk or no right to write, a label that mixes numbers with names, an
            example that `source` cannot read.
    """
    folder = Path(folder)
    with fill_folder(folder, "meta.json") as work:
        columns = [LabelColumn(name, (categories or {}).get(name)) for name in label_names]
        writer = _Writer(work, tokenizer, max_tokens, overlong == "drop", columns, training, source)
        rows = iter(examples)
        try:
            writer.start()
            while chunk := list(itertools.islice(rows, _CHUNK)):
                writer.add(chunk)
            writer.finish(list(notes))
        finally:
            writer.close()
    return open_store(folder)


class _Writer:
    """Appends chunks of sentences to the files of one store."""

    def __init__(
        self,
        folder: Path,
        tokenizer: TextTokenizer,
        max_tokens: int,
        drops: bool,
        columns: Sequence[LabelColumn],
        training: bool,
        source: SourceReader | None,
    ) -> None:
        self.literal, self.priced = training or tokenizer.unk_is_word, not training
        self.folder, self.tokenizer, self.max_tokens = folder, tokenizer, max_tokens
        self.drops, self.columns = drops, columns
        self.counts, self.end = Counts(), 0
        self.content = hashlib.blake2b(digest_size=16)
        self.dtype = "uint16" if tokenizer.vocab_size <= 2**16 else "int32"
        self.files: dict[str, IO[bytes]] = {
            name: (folder / f"{name}.bin").open("wb")
            for name in ("tokens", "offsets", "chars", "spelling", "literal", "labels")
        }
        self.source = SourceWriter(folder, source) if source else None

    def _write(self, name: str, values: Array) -> None:
        self.files[name].write(values.tobytes())

    def start(self) -> None:
        """Write the start of the first sentence."""
        self._write("offsets", np.zeros(1, np.int64))

    def add(self, chunk: Sequence[Example]) -> None:
        """Tokenize a chunk and append it."""
        texts = [example.text for example in chunk]
        for text in texts:
            self.content.update(f"{len(text)}:{text}".encode())  # the length separates texts
        flat, lengths = self.tokenizer.encode_flat(texts)
        kept, lengths_kept, flat = self._select(flat, lengths)
        self._add_unknown([texts[i] for i in np.flatnonzero(kept)], flat, lengths_kept)
        chars = np.fromiter(map(len, texts), np.int32, len(texts))
        # of a truncated text only the characters of its kept tokens count (bits per character)
        for i in np.flatnonzero(lengths > self.max_tokens) if not self.drops else ():
            chars[i] = self.tokenizer.characters(texts[i], self.max_tokens)
        ends = self.end + np.cumsum(lengths_kept)
        self.end = int(ends[-1]) if len(ends) else self.end
        self._write("tokens", flat.astype(self.dtype))
        self._write("offsets", ends.astype(np.int64))
        self._write("chars", chars[kept])
        if self.columns:
            self._write("labels", self._label_columns([chunk[i] for i in np.flatnonzero(kept).tolist()]))
        if self.source:
            rows = ((chunk[i], int(chars[i])) for i in np.flatnonzero(kept).tolist())
            self.source.add([example._replace(text=example.text[:end]) for example, end in rows])

    def _select(self, flat: Array, lengths: Array) -> tuple[Array, Array, Array]:
        """Mask (N,) of the kept sentences, their lengths and tokens; updates the counts."""
        overlong, empty = lengths > self.max_tokens, lengths == 0
        kept = ~empty & ~(overlong & self.drops)
        places = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        flat = flat[np.repeat(kept, lengths) & (places < self.max_tokens)]
        counts = self.counts
        counts.kept += int(kept.sum())
        counts.empty += int(empty.sum())
        counts.dropped += int(overlong.sum()) if self.drops else 0
        counts.truncated += 0 if self.drops else int(overlong.sum())
        counts.tokens += len(flat)
        return kept, np.minimum(lengths[kept], self.max_tokens), flat

    def _add_unknown(self, texts: Sequence[str], flat: Array, lengths: Array) -> None:
        """Count the unknown tokens `flat` of the kept texts, and add their spelling costs."""
        spelling, literal = np.zeros(len(texts), np.float32), []
        ends = np.cumsum(lengths)
        places = np.flatnonzero(flat == self.tokenizer.special.unk)
        owners = np.searchsorted(ends, places, side="right")
        written = self.tokenizer.written_unknown
        pieces, last = [""], -1
        for place, owner in zip(places.tolist(), owners.tolist(), strict=True):
            is_written = self.literal and any(word in texts[owner] for word in written)
            if not (is_written or self.priced):
                continue
            if owner != last:  # split a text once, not once per unknown token
                pieces, last = self.tokenizer.pieces(texts[owner]), owner
            piece = pieces[place - int(ends[owner] - lengths[owner])]
            if is_written and piece in written:
                literal.append(self.end + place)
            elif self.priced:
                spelling[owner] += self.tokenizer.spelling.nats(piece)
        self.counts.literal += len(literal)
        self.counts.unknown += len(places) - len(literal)
        self._write("spelling", spelling)
        self._write("literal", np.array(literal, np.int64))

    def _label_columns(self, chunk: Sequence[Example]) -> Array:
        columns = [[example.labels[i] for example in chunk] for i in range(len(self.columns))]
        coded = [column.codes(values) for column, values in zip(self.columns, columns, strict=True)]
        return np.stack(coded, axis=1)

    def close(self) -> None:
        """Close the files, also after an error."""
        for file in self.files.values():
            with suppress(OSError):
                file.close()
        if self.source:
            self.source.close()

    def finish(self, notes: Sequence[str] = ()) -> None:
        """Sort the categories by name and write the metadata."""
        for file in self.files.values():
            file.flush()
        if self.columns and self.counts.kept:  # an empty file cannot be mapped
            shape = (self.counts.kept, len(self.columns))
            labels = np.memmap(self.folder / "labels.bin", np.float32, mode="r+", shape=shape)
            for i, column in enumerate(self.columns):
                labels[:, i] = column.finished(labels[:, i])
            labels.flush()
        meta = {
            "format": FORMAT,
            "dtype": self.dtype,
            "counts": asdict(self.counts),
            "content": self.content.hexdigest(),
            "label_names": [column.name for column in self.columns],
            "categories": {column.name: column.names for column in self.columns if column.names},
            "notes": notes,
            "lost": {column.name: asdict(column.lost) for column in self.columns},
        }
        if self.source:
            meta["source"] = self.source.finish()
            meta["source_sums"] = self.source.sums.tolist()
        (self.folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
