"""Vectors given with sentences, one row per example: NumPy arrays and Parquet columns.

Shapes: N examples, n read together, W vector width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.data.remote import is_url
from seqvae.data.text.fetched import local_copy
from seqvae.data.text.readers import Example
from seqvae.data.text.source import SourceRows
from seqvae.errors import UserError, suggest

Array = npt.NDArray[Any]
_BATCH = 4096  # rows of a Parquet file per block


class GivenVectors:
    """The source reader of `encoder: vectors`: it returns each example's vector."""

    fingerprint = "given vectors"

    def read(self, examples: Sequence[Example]) -> SourceRows:
        """Vectors (n, W).

        Raises:
            UserError: an example without a vector, or vectors of different widths.
        """
        for example in examples:
            if example.vector is None:
                raise UserError(
                    f"{example.text!r} has no vector: data.vectors names the matrix of data.train, "
                    "data.valid_vectors and data.test_vectors those of data.valid and data.test"
                )
        try:
            return SourceRows(np.stack([np.asarray(example.vector, np.float32) for example in examples]))
        except ValueError:
            widths = sorted({len(example.vector) for example in examples if example.vector is not None})
            raise UserError(f"vectors have different widths {widths}: give one width") from None


def with_vectors(examples: Iterable[Example], file: str, column: str) -> Iterator[Example]:
    """Each example with its row of `file`, in order; blank lines count as rows.

    Raises:
        UserError: a file without vectors, or with another number of rows than examples.
    """
    rows = vector_rows(vector_file(file), column)
    count = 0
    for count, example in enumerate(examples, 1):
        row = next(rows, None)
        if row is None:
            raise UserError(
                f"{file} has {count - 1:,} rows and there are more examples: give one row per line of the "
                "text, blank lines too"
            )
        yield example._replace(vector=row)
    if (left := sum(1 for _ in rows)) > 0:
        raise UserError(
            f"{file} has {count + left:,} rows for {count:,} examples: give one row per line of the text, "
            "blank lines too"
        )


def vector_file(file: str | Path) -> Path:
    """Check the path of a file with vectors; a URL gives the path of a copy.

    Raises:
        UserError: no such file.
    """
    if isinstance(file, str) and is_url(file):
        return local_copy(file)
    if not Path(file).is_file():
        raise UserError(f"no file {file}: give vectors as .npy (N, W), or as a column of a .parquet file")
    return Path(file)


def vector_rows(file: Path, column: str) -> Iterator[Array]:
    """The rows (W,) of a matrix in `.npy`, or of a column of lists in `.parquet`.

    Raises:
        UserError: no such file, another format, no such column, or a row with NaN or infinite values.
    """
    vector_file(file)
    blocks = _parquet_blocks(file, column) if file.suffix == ".parquet" else _array_blocks(file)
    start = 0
    for block in blocks:
        if len(wrong := np.flatnonzero(~np.isfinite(block).all(1))):
            raise UserError(f"row {start + int(wrong[0])} of {file} holds nan or inf: give finite numbers")
        yield from block
        start += len(block)


def read_vectors(file: Path, column: str) -> Array:
    """The whole matrix (N, W) of a file, float32.

    Raises:
        UserError: as `vector_rows`, or no row.
    """
    rows = list(vector_rows(file, column))
    if not rows:
        raise UserError(f"{file} holds no vector: give at least one row")
    return np.stack(rows)


def _array_blocks(file: Path) -> Iterator[Array]:
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UserError(f"{file} is not a NumPy array ({reason}): give .npy (N, W) or .parquet") from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "fiu":
        shape = getattr(found, "shape", "several arrays")
        raise UserError(
            f"{file} holds {shape} of {getattr(found, 'dtype', 'no one type')}: give numbers (N, W)"
        )
    for start in range(0, len(found), _BATCH):
        yield np.asarray(found[start : start + _BATCH], np.float32)


def _parquet_blocks(file: Path, column: str) -> Iterator[Array]:
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(file)
    except ArrowInvalid as error:
        raise UserError(f"{file} is not a Parquet file ({str(error).splitlines()[0]}): give one") from None
    names = table.schema_arrow.names
    if column not in names:
        raise UserError(
            f"{file} has no column {column!r}: {suggest(column, names)}; data.vector_column names it"
        )
    for batch in table.iter_batches(batch_size=_BATCH, columns=[column]):
        try:
            block = np.asarray(batch.column(0).to_pylist(), np.float32)
        except (ValueError, TypeError):
            block = np.zeros(0, np.float32)
        if block.ndim != 2:
            raise UserError(
                f"column {column!r} of {file} holds no vectors of one width: give lists of numbers"
            )
        yield block
