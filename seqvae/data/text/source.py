"""What an encoder reads of an example where that is not the run's own tokens: a vector, or tokens of its own.

Shapes: n examples that are read together, N of a split, B of a batch, W vector width, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqvae.data.text.readers import Example
from seqvae.errors import UserError

Array = npt.NDArray[Any]
_FILES = ("source.bin", "source_lengths.bin")
_STATISTICS_ROWS = 1 << 14  # rows that are summed together


@dataclass(frozen=True)
class SourceRows:
    """Vectors (n, W) float32, or the token ids of n examples in one row, `lengths` (n,) of each."""

    values: Array
    lengths: Array | None = None
    pad: int = 0  # the id that fills the right of shorter examples

    def tensors(self) -> tuple[Tensor, Tensor]:
        """What `TextBatch.source` and `source_lengths` hold: (B, W) floats, or (B, T) ids padded right."""
        if self.lengths is None:
            vectors = torch.from_numpy(np.array(self.values, np.float32))
            return vectors, torch.full((len(vectors),), vectors.shape[1])
        lengths = self.lengths.astype(np.int64)
        inside = np.arange(max(int(lengths.max(initial=0)), 1)) < lengths[:, None]
        grid = np.full(inside.shape, self.pad, np.int64)
        grid[inside] = self.values
        return torch.from_numpy(grid), torch.from_numpy(lengths)


class SourceReader(Protocol):
    """Turns examples into what the encoder reads of them."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the result; stores and caches are named by it."""
        ...

    def read(self, examples: Sequence[Example]) -> SourceRows:
        """The rows of n examples.

        Raises:
            UserError: an example that this reader cannot read.
        """
        ...


@dataclass(frozen=True)
class SourceFacts:
    """What an encoder must know of its source: the width W of vectors (0 for tokens), and their statistics.

    `mean` and `sd` (W,) are those of the training split; None where a trained model is loaded, whose weights
    hold them.
    """

    width: int
    mean: Tensor | None = None
    sd: Tensor | None = None

    @property
    def card(self) -> dict[str, Any]:
        """The part that config.json keeps."""
        return {"width": self.width}

    @classmethod
    def from_card(cls, card: Mapping[str, Any] | None) -> SourceFacts | None:
        """The facts of a run from its config.json; None where the encoder reads the run's own tokens."""
        return None if card is None else cls(int(card["width"]))


@dataclass(frozen=True)
class SourceStore:
    """The source of N examples on disk, mapped and not read."""

    values: Array  # (N, W) float32, or (all tokens,) int32
    offsets: Array | None  # (N + 1,) where the tokens of an example start
    pad: int

    @property
    def width(self) -> int:
        """W, or 0 for tokens."""
        return 0 if self.offsets is not None else int(self.values.shape[1])

    def rows(self, rows: Array) -> SourceRows:
        """The chosen examples (B,)."""
        if self.offsets is None:
            return SourceRows(self.values[rows])
        starts, ends = self.offsets[rows], self.offsets[rows + 1]
        parts = [self.values[start:end] for start, end in zip(starts, ends, strict=True)]
        return SourceRows(np.concatenate(parts), ends - starts, self.pad)

    def facts(self) -> SourceFacts:
        """Width, mean and standard deviation over all N rows, in fp64; a constant dim has deviation 1."""
        if self.offsets is not None:
            return SourceFacts(0)
        n, total = len(self.values), np.zeros((2, self.width))
        for start in range(0, n, _STATISTICS_ROWS):
            block = self.values[start : start + _STATISTICS_ROWS].astype(np.float64)
            total += np.stack([block.sum(0), (block**2).sum(0)])
        return facts_of_sums(total, n)


def facts_of_sums(total: Array, n: int) -> SourceFacts:
    """Width, mean and standard deviation from the sums (2, W) of n vectors and of their squares."""
    mean = total[0] / max(n, 1)
    sd = np.sqrt(np.maximum(total[1] / max(n, 1) - mean**2, 0))
    # of a constant only rounding is left: dividing by it would blow noise up
    sd = np.where(sd > 1e-6 * np.maximum(np.abs(mean), 1e-6), sd, 1.0)
    return SourceFacts(total.shape[1], torch.from_numpy(mean).float(), torch.from_numpy(sd).float())


class SourceWriter:
    """Appends what a reader makes of chunks of examples to the files of a store."""

    def __init__(self, folder: Path, reader: SourceReader) -> None:
        self.reader, self.pad, self.width = reader, 0, 0
        self.sums = np.zeros((2, 0))  # of each number and of its square
        self.values, self.lengths = (self._opened(folder / name) for name in _FILES)

    @staticmethod
    def _opened(file: Path) -> IO[bytes]:
        return file.open("wb")

    def add(self, examples: Sequence[Example]) -> None:
        """Append the rows of these examples.

        Raises:
            UserError: as `SourceReader.read`, or vectors of another width than those before.
        """
        if not examples:
            return
        rows = self.reader.read(examples)
        if rows.lengths is None:
            self._same_width(rows.values.shape[1])
            wide = rows.values.astype(np.float32).astype(np.float64)
            added = np.stack([wide.sum(0), (wide**2).sum(0)])
            self.sums = self.sums + added if self.sums.size else added
            self.values.write(np.ascontiguousarray(rows.values, np.float32).tobytes())
            return
        self.pad = rows.pad
        self.values.write(rows.values.astype(np.int32).tobytes())
        self.lengths.write(rows.lengths.astype(np.int64).tobytes())

    def _same_width(self, width: int) -> None:
        if self.width and width != self.width:
            raise UserError(
                f"vectors of {width} numbers stand beside vectors of {self.width}: give one width"
            )
        self.width = width

    def finish(self) -> dict[str, int]:
        """Flush the files; what `open_source` must know of them."""
        self.values.flush()
        self.lengths.flush()
        return {"width": self.width, "pad": self.pad}

    def close(self) -> None:
        """Close the files, whatever happened to them."""
        for file in (self.values, self.lengths):
            with suppress(OSError):
                file.close()


def open_source(folder: Path, meta: Mapping[str, int], n: int) -> SourceStore:
    """Map the source of `n` examples that `SourceWriter` wrote."""
    values, lengths = (folder / name for name in _FILES)
    if meta["width"] or n == 0:
        shape = (n, meta["width"])
        mapped = np.memmap(values, np.float32, mode="r", shape=shape) if n else np.zeros(shape, np.float32)
        return SourceStore(np.asarray(mapped), None, meta["pad"])
    counts = np.fromfile(lengths, np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    ids = np.memmap(values, np.int32, mode="r", shape=(int(offsets[-1]),))
    return SourceStore(np.asarray(ids), offsets, meta["pad"])
