"""Images from `.npy` and `.npz` files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.data.image.pixels import first_line
from seqvae.data.input_files import open_unpacked, suffix
from seqvae.errors import UserError

Array = npt.NDArray[Any]
_MAGIC = b"\x93NUMPY"
NAMES = (
    "images",
    "x",
    "imgs",
    "x_train",
)  # names of image arrays in an .npz; otherwise its first array of 3 or 4 dims


def read_npy(path: Path) -> Array:
    """Read an array, memory-mapped if possible.

    Raises:
        UserError: not a readable array.
    """
    try:
        if _begins_as_npy(path):
            found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with open_unpacked(path) as stream:
                found = np.load(BytesIO(stream.read()), allow_pickle=False)
    except UserError:
        raise
    except Exception as error:  # for a damaged header NumPy raises any error of Python's parser
        raise _damage_error(path, error) from None
    if not isinstance(found, np.ndarray):
        raise UserError(f"{path} holds several arrays: name it .npz")
    return found


def is_npy(path: Path) -> bool:
    """Whether a file is a `.npy` file, by its name or its first bytes."""
    return suffix(path) == ".npy" or _begins_as_npy(path)


def _begins_as_npy(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_npz(path: Path) -> tuple[Array, dict[str, Array]]:
    """The image array, and as labels all other arrays with N rows: (N,), or the columns of (N, L).

    Raises:
        UserError: not a readable archive, or no images in it.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: array for name in archive.files if (array := _plain(archive, name)) is not None}
    except Exception as error:  # as above, and any error of zipfile
        raise _damage_error(path, error) from None
    likely = [name for name, array in arrays.items() if array.ndim in (3, 4)]
    found = [name for name in NAMES if name in likely] + likely
    if not found:
        held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no array"
        raise UserError(f"{path} holds {held}: name the pictures `images`, (N, H, W) or (N, H, W, C)")
    pictures = arrays.pop(found[0])
    return pictures, _columns(arrays, len(pictures))


def _plain(archive: Any, name: str) -> Array | None:
    """An array of the archive, or None for an object array, which would need pickle."""
    try:
        array: Array = archive[name]
    except ValueError:
        return None
    return array


def _columns(arrays: dict[str, Array], rows: int) -> dict[str, Array]:
    columns: dict[str, Array] = {}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufUS" or array.ndim == 0 or len(array) != rows:
            continue
        if array.ndim == 1:
            columns[name] = array
        elif array.ndim == 2:
            columns |= {f"{name}_{i}": column for i, column in enumerate(array.T)}
    return columns


def _damage_error(path: Path, error: Exception) -> UserError:
    reason = first_line(error)
    return UserError(f"{path} is no file of arrays that can be read ({reason}): save it again with numpy")
