"""Files of codes: a NumPy array, or a Parquet table that also holds the sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.utils.atomic_files import write_named

if TYPE_CHECKING:
    from seqvae.inference.inputs import Inputs

ENDINGS = (".npy", ".parquet")
Empty = Literal["nan", "mask", "drop"]  # what a row without an example becomes


def check_output(file: Path) -> None:
    """Reject a file that exists or has an unknown extension, before any work is done.

    Raises:
        UserError: in these cases, or if its folder does not exist.
    """
    if file.suffix not in ENDINGS:
        raise UserError(f"{file} ends in {file.suffix or 'nothing'}: codes are written as .npy or .parquet")
    for written in (file, mask_file(file)):
        if written.exists():
            raise UserError(f"{written} exists: choose another --output")
    if not file.parent.is_dir():
        raise UserError(f"the folder {file.parent} does not exist: make it first")


def write_codes(file: Path, z: Tensor, given: Inputs | None = None, empty: Empty = "nan") -> None:
    """Write codes (N, D) to `file`, one row per row of their source (per example if `empty` is drop).

    A row without an example has NaN (`nan`), or zeros and False in the file `NAME.mask.npy` (`mask`). In
    Parquet the code is the list column `z` (null for a masked row), next to the row's number `row` in the
    source, its `id`, `text` and label columns.

    Raises:
        UserError: the file cannot be written.
    """
    dropped = empty == "drop" or given is None
    found = z if dropped or given is None else _spread_rows(z, given, 0.0 if empty == "mask" else torch.nan)
    mask = np.ones(len(found), bool)
    if not dropped and given is not None:
        mask = np.array(given.spread([True] * len(given), False), bool)
    if file.suffix == ".npy":
        write_named(file, lambda p: np.save(p, found.numpy()))
        if empty == "mask":
            write_named(mask_file(file), lambda p: np.save(p, mask))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {} if given is None else _known_columns(given, dropped)
    kept = found.tolist()
    if empty == "mask":
        kept = [row if filled else None for row, filled in zip(kept, mask.tolist(), strict=True)]
    table = pa.table({name: _array(values) for name, values in columns.items()} | {"z": _codes(kept)})
    write_named(file, lambda p: pq.write_table(table, p))


def mask_file(file: Path) -> Path:
    """The file with the mask (N,) of the rows of `file` that hold a code."""
    return file.with_suffix(".mask.npy")


def _spread_rows(z: Tensor, given: Inputs, missing: float) -> Tensor:
    if given.places is None or given.total is None:
        return z
    found = torch.full((given.total, z.shape[1]), missing)
    found[torch.tensor(given.places, dtype=torch.long)] = z
    return found


def _known_columns(given: Inputs, dropped: bool) -> dict[str, Sequence[Any]]:
    """Columns of the Parquet file besides z, for all rows or only for those with an example."""
    places = range(len(given)) if given.places is None else given.places
    rows = places if dropped else range(given.total if given.total is not None else len(given))
    columns: dict[str, Sequence[Any]] = {"row": list(rows)}
    if given.ids is not None:
        columns["id"] = [given.ids[row] for row in rows]
    if isinstance(given.x, list):
        columns["text"] = given.x if dropped else given.spread(given.x, "")
    taken = {*columns, "z"}
    for name, values in given.columns.items():
        columns[f"label_{name}" if name in taken else name] = [values[row] for row in rows]
    return columns


def _array(values: Sequence[Any]) -> Any:
    """A column of the values' own type; of strings if their types differ."""
    import pyarrow as pa

    plain = [str(value) if isinstance(value, str) else value for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else str(value) for value in plain])


def _codes(rows: Sequence[list[float] | None]) -> Any:
    import pyarrow as pa

    return pa.array(rows, pa.list_(pa.float32()))


def read_codes(file: Path) -> Tensor:
    """Read codes (N, D) written by `write_codes`; rows without a code are NaN.

    Raises:
        UserError: no such file, or it does not hold codes.
    """
    if not file.is_file():
        raise UserError(f"no file {file}: `seqvae encode` writes one")
    try:
        if file.suffix == ".npy":
            return _mask_rows(_read_npy(file), file)
        import pyarrow.parquet as pq

        rows = pq.read_table(file, columns=["z"])["z"].to_pylist()
        width = next((len(row) for row in rows if row is not None), 0)
        return torch.tensor([[torch.nan] * width if row is None else row for row in rows])
    except Exception as error:  # for a damaged header NumPy raises any error of Python's parser
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        reason = reason.split(". ")[0]  # NumPy's next sentence advises allow_pickle=True, which is unsafe
        raise UserError(f"{file} holds no codes ({reason}): give a file that `seqvae encode` wrote") from None


def read_texts(file: Path) -> list[str] | None:
    """The texts beside the codes of a Parquet file; None where there are none."""
    if file.suffix != ".parquet":
        return None
    import pyarrow.parquet as pq

    if "text" not in pq.read_schema(file).names:
        return None
    return [text or "" for text in pq.read_table(file, columns=["text"])["text"].to_pylist()]


def coded_rows(z: Tensor) -> Tensor:
    """(N,) bool: which rows of z (N, D) hold a code; all True for another shape, which `decode` rejects."""
    if z.ndim != 2 or not z.shape[1]:
        return torch.ones(len(z) if z.ndim else 0, dtype=torch.bool)
    return ~z.isnan().all(1)


def _read_npy(file: Path) -> Tensor:
    found = np.load(file, allow_pickle=False)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise TypeError(f"{getattr(found, 'dtype', 'several arrays')} is no array of numbers")
    with np.errstate(over="ignore"):  # a number beyond fp32 becomes infinite, and is rejected later
        return torch.from_numpy(found.astype(np.float32))


def _mask_rows(z: Tensor, file: Path) -> Tensor:
    """Set the rows to NaN that the mask file marks as no codes."""
    if not mask_file(file).is_file():
        return z
    mask = torch.from_numpy(np.load(mask_file(file), allow_pickle=False))
    if mask.shape != z.shape[:1] or mask.dtype != torch.bool:
        raise ValueError(f"{mask_file(file).name} is no mask of {len(z)} rows")
    return torch.where(mask[:, None], z, torch.nan)
