"""Files in MNIST's idx format: a magic number, sizes, bytes; packed or not."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.data.input_files import PACKED, is_packed, open_unpacked
from seqvae.errors import UserError

UBYTE = 0x08
PICTURES, LABELS = 3, 1  # dims of the two kinds of file


def read_idx(path: Path, dims: int) -> npt.NDArray[Any]:
    """Read an idx file as an array of `dims` dims; an unpacked file is memory-mapped.

    Raises:
        UserError: a wrong magic number, or a size that does not match the header.
    """
    head, size = _head(path, 4 + 4 * dims)
    magic = int.from_bytes(head[:4], "big")
    wanted = UBYTE << 8 | dims
    if len(head) < 4 + 4 * dims or magic != wanted:
        raise UserError(
            f"{path} starts with the magic number {magic}, not {wanted}: "
            f"give an idx{dims} file of unsigned bytes, .npy, .npz or a folder of pictures"
        )
    shape = tuple(int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4))
    whole = math.prod(shape)
    if size is None:
        data = np.frombuffer(_read_gzip(path), np.uint8, offset=len(head))
        _check_size(path, len(data), whole)
        return data.reshape(shape)
    _check_size(path, size - len(head), whole)
    if not whole:
        return np.zeros(shape, np.uint8)
    return np.memmap(path, np.uint8, "r", offset=len(head), shape=shape)


def find_label_file(path: Path) -> Path | None:
    """The label file of an image file, by MNIST's names: images-idx3 -> labels-idx1."""
    name = re.sub(r"images([-.])idx3", r"labels\1idx1", path.name)
    return _there(path, name)


def find_test_file(path: Path) -> Path | None:
    """The test file next to a training file, by MNIST's names: train-images -> t10k-images."""
    return _there(path, re.sub(r"^train-", "t10k-", path.name)) if "-idx3" in path.name else None


def _there(path: Path, name: str) -> Path | None:
    plain = name
    for packed in PACKED:
        plain = plain.removesuffix(packed)
    names = (name, plain, *(f"{plain}{packed}" for packed in PACKED))
    found = [path.with_name(n) for n in names if name != path.name and path.with_name(n).is_file()]
    return found[0] if found else None


def _head(path: Path, count: int) -> tuple[bytes, int | None]:
    """The first bytes, and the file's size (None for a packed file)."""
    if not is_packed(path):
        with path.open("rb") as file:
            return file.read(count), path.stat().st_size
    return _read_gzip(path, count), None


def _read_gzip(path: Path, count: int = -1) -> bytes:
    with open_unpacked(path) as file:
        return file.read(count)


def _check_size(path: Path, got: int, wanted: int) -> None:
    if got != wanted:
        what = "is cut short" if got < wanted else "holds too much"
        raise UserError(f"{path} {what}: its sizes ask for {wanted:,} bytes, it has {got:,}: fetch it again")
