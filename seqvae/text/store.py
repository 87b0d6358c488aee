"""A corpus as token ids on disk: one flat file that is mapped, not read, and where each sentence starts."""

from __future__ import annotations

import errno
import itertools
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from seqvae.registry import UserError
from seqvae.text.corpus import Example, Value
from seqvae.text.tokenizer import TextTokenizer

FORMAT = 1
_CHUNK = 4096  # sentences
_MOST_CATEGORIES = 10_000
Array = npt.NDArray[Any]


@dataclass
class Counts:
    """What became of the sentences that were read."""

    kept: int = 0
    empty: int = 0  # without any token, left out
    truncated: int = 0  # kept, with only their first tokens
    dropped: int = 0  # left out as too long
    tokens: int = 0  # kept, without </s>
    unknown: int = 0  # of these, how many are the unknown token


@dataclass(frozen=True)
class TokenStore:
    """N sentences on disk. `open_store` makes one.

    `labels` (N, L) float32 holds numbers, or the place of a category's name in `categories`; NaN is
    missing. `chars` (N,) counts the characters of the text that the kept tokens cover.
    """

    folder: Path
    counts: Counts
    label_names: tuple[str, ...]
    categories: Mapping[str, Sequence[str]]
    flat: Array  # (all tokens,) uint16 or int32, without special tokens at the ends
    offsets: Array  # (N + 1,) int64
    chars: Array  # (N,) int32
    labels: Array  # (N, L) float32

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> npt.NDArray[np.int32]:
        """(N,) tokens of each sentence, without `</s>`."""
        return np.diff(self.offsets).astype(np.int32)

    def tokens(self, i: int) -> npt.NDArray[np.int64]:
        """The ids of sentence `i`."""
        return np.asarray(self.flat[self.offsets[i] : self.offsets[i + 1]], np.int64)


def open_store(folder: str | Path) -> TokenStore:
    """Map the files that `build_store` wrote.

    Raises:
        FileNotFoundError: there is no store.
    """
    folder = Path(folder)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    counts, names = Counts(**meta["counts"]), tuple(meta["label_names"])
    return TokenStore(
        folder=folder,
        counts=counts,
        label_names=names,
        categories=meta["categories"],
        flat=_mapped(folder / "tokens.bin", meta["dtype"], counts.tokens),
        offsets=_mapped(folder / "offsets.bin", "int64", counts.kept + 1),
        chars=_mapped(folder / "chars.bin", "int32", counts.kept),
        labels=_mapped(folder / "labels.bin", "float32", counts.kept * len(names)).reshape(-1, len(names))
        if names
        else np.zeros((counts.kept, 0), np.float32),
    )


def _mapped(file: Path, dtype: str, size: int) -> Array:
    if size == 0:
        return np.zeros(0, dtype)
    return np.asarray(np.memmap(file, dtype=dtype, mode="r", shape=(size,)))


def build_store(
    examples: Iterable[Example],
    tokenizer: TextTokenizer,
    folder: str | Path,
    *,
    max_tokens: int,
    overlong: Literal["truncate", "drop"] = "truncate",
    label_names: Sequence[str] = (),
    categories: Mapping[str, Sequence[str]] | None = None,
) -> TokenStore:
    """Tokenize `examples` chunk by chunk into `folder`, which appears whole or not at all.

    `max_tokens` does not count `</s>`. `categories` are the names that earlier data gave to a label's values
    (another name is then a missing label); a label without such a list gets its own, sorted.

    Raises:
        UserError: no room on the disk or no right to write, a label that mixes numbers with names.
    """
    folder = Path(folder)
    with appearing(folder, "meta.json") as work:
        writer = _Writer(work, tokenizer, max_tokens, overlong, tuple(label_names), categories or {})
        rows = iter(examples)
        try:
            writer.start()
            while chunk := list(itertools.islice(rows, _CHUNK)):
                writer.add(chunk)
            writer.finish()
        finally:
            writer.close()
    return open_store(folder)


@contextmanager
def appearing(folder: Path, mark: str) -> Iterator[Path]:
    """A folder of another name that becomes `folder` at the end, or vanishes after an error.

    Where another process was first (the file `mark` is there), its folder stays.
    """
    work = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        with writing_to(folder):
            work.mkdir(parents=True)
            yield work
            _moved(work, folder, mark)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _moved(work: Path, folder: Path, mark: str) -> None:
    try:
        work.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not (folder / mark).exists():
            raise UserError(f"{folder} is in the way and holds no {mark}: remove it") from None


@contextmanager
def writing_to(where: Path) -> Iterator[None]:
    """Turns a full disk or a missing right under `where` into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = f"no space left for tokens at {where}"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            problem = f"no right to write tokens at {where}"
        else:
            raise
        raise UserError(f"{problem}: make room, or set SEQVAE_CACHE to a folder elsewhere") from None


class _Writer:
    """Appends chunks of sentences to the files of one store."""

    def __init__(
        self,
        folder: Path,
        tokenizer: TextTokenizer,
        max_tokens: int,
        overlong: str,
        label_names: tuple[str, ...],
        categories: Mapping[str, Sequence[str]],
    ) -> None:
        self.folder, self.tokenizer, self.max_tokens = folder, tokenizer, max_tokens
        self.drops = overlong == "drop"
        self.counts, self.end = Counts(), 0
        self.dtype = "uint16" if tokenizer.vocab_size <= 2**16 else "int32"
        self.columns = [_Column(name, categories.get(name)) for name in label_names]
        self.files: dict[str, IO[bytes]] = {
            name: (folder / f"{name}.bin").open("wb") for name in ("tokens", "offsets", "chars", "labels")
        }

    def _write(self, name: str, values: Array) -> None:
        self.files[name].write(values.tobytes())

    def start(self) -> None:
        """Write where the first sentence starts."""
        self._write("offsets", np.zeros(1, np.int64))

    def add(self, chunk: Sequence[Example]) -> None:
        """Tokenize and append."""
        texts = [example.text for example in chunk]
        flat, lengths = self.tokenizer.encode_flat(texts)
        kept, lengths_kept, flat = self._selected(flat, lengths)
        chars = np.fromiter(map(len, texts), np.int32, len(texts))
        for i in np.flatnonzero(lengths > self.max_tokens) if not self.drops else ():
            chars[i] = self.tokenizer.characters(texts[i], self.max_tokens)
        ends = self.end + np.cumsum(lengths_kept)
        self.end = int(ends[-1]) if len(ends) else self.end
        self._write("tokens", flat.astype(self.dtype))
        self._write("offsets", ends.astype(np.int64))
        self._write("chars", chars[kept])
        if self.columns:
            self._write("labels", self._labelled(chunk)[kept])

    def _selected(self, flat: Array, lengths: Array) -> tuple[Array, Array, Array]:
        """(N,) what is kept, the kept lengths, the kept tokens; everything counted."""
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
        counts.unknown += int((flat == self.tokenizer.special.unk).sum())
        return kept, np.minimum(lengths[kept], self.max_tokens), flat

    def _labelled(self, chunk: Sequence[Example]) -> Array:
        columns = zip(*(example.labels for example in chunk), strict=True)
        coded = [column.codes(values) for column, values in zip(self.columns, columns, strict=True)]
        return np.stack(coded, axis=1)

    def close(self) -> None:
        """Let go of the files, whatever happened to them."""
        for file in self.files.values():
            with suppress(OSError):
                file.close()

    def finish(self) -> None:
        """Put categories into the order of their names and write what the files hold."""
        for file in self.files.values():
            file.flush()
        if self.columns and self.counts.kept:
            shape = (self.counts.kept, len(self.columns))
            labels = np.memmap(self.folder / "labels.bin", np.float32, mode="r+", shape=shape)
            for i, column in enumerate(self.columns):
                labels[:, i] = column.sorted(labels[:, i])
            labels.flush()
        meta = {
            "format": FORMAT,
            "dtype": self.dtype,
            "counts": asdict(self.counts),
            "label_names": [column.name for column in self.columns],
            "categories": {column.name: column.names for column in self.columns if column.names},
        }
        (self.folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")


@dataclass
class _Column:
    """One label: numbers, or names that become codes."""

    name: str
    known: Sequence[str] | None = None
    seen: dict[str, int] = field(default_factory=dict)
    numeric: bool = False

    def codes(self, values: Sequence[Value]) -> npt.NDArray[np.float32]:
        """(N,) numbers as they are, names in the order they were met (or known); NaN where missing."""
        return np.fromiter(map(self._code, values), np.float32, len(values))

    def _code(self, value: Value) -> float:
        if value is None:
            return float("nan")
        if self.known is not None:
            self.seen = self.seen or {name: i for i, name in enumerate(self.known)}
            return float(self.seen.get(str(value), "nan"))
        if isinstance(value, str):
            code = float(self.seen.setdefault(value, len(self.seen)))
        else:
            code, self.numeric = float(value), True
        if self.numeric and self.seen:
            raise UserError(f"label {self.name!r} mixes numbers with names ({value!r}): use one kind")
        if code == _MOST_CATEGORIES and not self.numeric:
            raise UserError(
                f"label {self.name!r} has more than {_MOST_CATEGORIES} different names: it is no category"
            )
        return code

    @property
    def names(self) -> list[str]:
        """The categories in the order of their codes; none for numbers."""
        return list(self.known) if self.known is not None else sorted(self.seen)

    def sorted(self, codes: Array) -> Array:
        """Codes (N,) in the order of the names."""
        if self.known is not None or not self.seen:
            return codes
        place = {name: i for i, name in enumerate(self.names)}
        table = np.array([place[name] for name in self.seen] + [np.nan], np.float32)
        return table[np.where(np.isnan(codes), len(self.seen), codes).astype(np.int64)]
