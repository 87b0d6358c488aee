"""Codes on disk: a NumPy array, or a Parquet table with the sentences beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.utils.atomic_files import write_named

ENDINGS = (".npy", ".parquet")


def check_output(file: Path) -> None:
    """Refuse a file that exists or has an ending we cannot write, before any work is done.

    Raises:
        UserError: one of these.
    """
    if file.suffix not in ENDINGS:
        raise UserError(f"{file} ends in {file.suffix or 'nothing'}: codes are written as .npy or .parquet")
    if file.exists():
        raise UserError(f"{file} exists: choose another --output")
    if not file.parent.is_dir():
        raise UserError(f"the folder {file.parent} does not exist: make it first")


def write_codes(file: Path, z: Tensor, texts: Sequence[str] | None = None) -> None:
    """Codes (N, D) to `file`; in Parquet one row is an example, `z` and, where there are texts, `text`.

    Raises:
        UserError: it cannot be written there.
    """
    if file.suffix == ".npy":
        write_named(file, lambda p: np.save(p, z.numpy()))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {} if texts is None else {"text": list(texts)}
    columns |= {"z": pa.array(z.tolist(), pa.list_(pa.float32()))}
    write_named(file, lambda p: pq.write_table(pa.table(columns), p))


def read_codes(file: Path) -> Tensor:
    """Codes (N, D) as `write_codes` wrote them.

    Raises:
        UserError: no such file, or nothing like codes in it.
    """
    if not file.is_file():
        raise UserError(f"no file {file}: `seqvae encode` writes one")
    try:
        if file.suffix == ".npy":
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
                raise TypeError(f"{getattr(found, 'dtype', 'several arrays')} is no array of numbers")
            return torch.from_numpy(found.astype(np.float32))
        import pyarrow.parquet as pq

        return torch.tensor(pq.read_table(file, columns=["z"])["z"].to_pylist())
    except (ValueError, TypeError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]  # NumPy goes on to advise against safety
        raise UserError(f"{file} holds no codes ({reason}): give a file that `seqvae encode` wrote") from None
