"""Codes on disk: a NumPy array, or a Parquet table with the sentences beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seqvae.registry import UserError

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
    """Codes (N, D) to `file`; in Parquet one row is an example, `z` and, where there are texts, `text`."""
    if file.suffix == ".npy":
        np.save(file, z.numpy())
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {} if texts is None else {"text": list(texts)}
    columns |= {"z": pa.array(z.tolist(), pa.list_(pa.float32()))}
    pq.write_table(pa.table(columns), file)


def read_codes(file: Path) -> Tensor:
    """Codes (N, D) as `write_codes` wrote them.

    Raises:
        UserError: no such file, or nothing like codes in it.
    """
    if not file.is_file():
        raise UserError(f"no file {file}: `seqvae encode` writes one")
    try:
        if file.suffix == ".npy":
            return torch.from_numpy(np.load(file, allow_pickle=False)).float()
        import pyarrow.parquet as pq

        return torch.tensor(pq.read_table(file, columns=["z"])["z"].to_pylist())
    except (ValueError, TypeError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} holds no codes ({reason}): give a file that `seqvae encode` wrote") from None
