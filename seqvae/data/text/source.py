"""Inputs of encoders that do not read the run's own tokens: vectors, or tokens of another tokenizer.

Shapes: n examples read together, N of a split, B of a batch, W vector width, T tokens.
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
_STATISTICS_ROWS = 1 << 14  # rows per partial sum


@dataclass(frozen=True)
class SourceRows:
    """Vectors (n, W) float32, or the concatenated token ids of n examples with their `lengths` (n,)."""

    values: Array
    lengths: Array | None = None
    pad: int = 0  # id of the padding on the right

    def tensors(self) -> tuple[Tensor, Tensor]:
        """`TextBatch.source` and `source_lengths`: floats (B, W), or ids (B, T) padded on the right."""
        if self.lengths is None:
            vectors = torch.from_numpy(np.array(self.values, np.float32))
            return vectors, torch.full((len(vectors),), vectors.shape[1])
        lengths = self.lengths.astype(np.int64)
        inside = np.arange(max(int(lengths.max(initial=0)), 1)) < lengths[:, None]
        grid = np.full(inside.shape, self.pad, np.int64)
        grid[inside] = self.values
        return torch.from_numpy(grid), torch.from_numpy(lengths)


class SourceReader(Protocol):
    """Turns examples into the encoder's inputs."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that affects the result, part of cache keys."""
        ...

    def read(self, examples: Sequence[Example]) -> SourceRows:
        """The rows of n examples.

        Raises:
            UserError: an example that this reader cannot read.
        """
        ...


@dataclass(frozen=True)
class SourceFacts:
    """Constructor arguments of an encoder: the width W of its vectors (0 for tokens), and their statistics.

    `mean` and `sd` (W,) are those of the training split; None when a trained model is loaded, whose weights
    contain them.
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
        """The facts from a run's config.json; None if the encoder reads the run's own tokens."""
        return None if card is None else cls(int(card["width"]))


@dataclass(frozen=True)
class SourceStore:
    """The encoder inputs of N examples, memory-mapped from disk."""

    values: Array  # (N, W) float32, or (all tokens,) int32
    offsets: Array | None  # (N + 1,) start of each example's tokens
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
    # a constant dim has only rounding errors, which division would amplify
    sd = np.where(sd > 1e-6 * np.maximum(np.abs(mean), 1e-6), sd, 1.0)
    return SourceFacts(total.shape[1], torch.from_numpy(mean).float(), torch.from_numpy(sd).float())


class SourceWriter:
    """Appends a reader's rows for chunks of examples to the files of a store."""

    def __init__(self, folder: Path, reader: SourceReader) -> None:
        self.reader, self.pad, self.width = reader, 0, 0
        self.sums = np.zeros((2, 0))  # of each number and of its square
        self.values, self.lengths = (self._open(folder / name) for name in _FILES)

    @staticmethod
    def _open(file: Path) -> IO[bytes]:
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
        """Flush the files; returns the metadata for `open_source`."""
        self.values.flush()
        self.lengths.flush()
        return {"width": self.width, "pad": self.pad}

    def close(self) -> None:
        """Close the files, also after an error."""
        for file in (self.values, self.lengths):
            with suppress(OSError):
                file.close()


def open_source(folder: Path, meta: Mapping[str, int], n: int) -> SourceStore:
    """Memory-map the source of `n` examples written by `SourceWriter`."""
    values, lengths = (folder / name for name in _FILES)
    if meta["width"] or n == 0:
        shape = (n, meta["width"])
        mapped = np.memmap(values, np.float32, mode="r", shape=shape) if n else np.zeros(shape, np.float32)
        return SourceStore(np.asarray(mapped), None, meta["pad"])
    counts = np.fromfile(lengths, np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    ids = np.memmap(values, np.int32, mode="r", shape=(int(offsets[-1]),))
    return SourceStore(np.asarray(ids), offsets, meta["pad"])
