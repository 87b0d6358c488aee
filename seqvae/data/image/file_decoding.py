"""Pictures that have to be decoded one by one become one array on disk; broken ones are named.

Shapes: N pictures, C x H x W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqvae.data.image.cache import atomic_folder, cache_folder
from seqvae.data.image.pixels import ImageSpec, Pixels, first_line, picture_pixels
from seqvae.errors import UserError

FORMAT = 1


class EncodedImage(NamedTuple):
    """One picture still to be decoded: what errors call it, and how to open it as a PIL picture."""

    name: str
    open: Callable[[], Any]


@dataclass(frozen=True)
class DecodedImages:
    """The pictures that could be read, which of all they are, and the names of those that could not."""

    pixels: npt.NDArray[Any]  # (N, C, H, W)
    rows: npt.NDArray[np.int64]  # (N,)
    broken: tuple[str, ...]


def decode_images(
    pictures: Iterable[EncodedImage], count: int, form: ImageSpec, skip: bool, key: tuple[object, ...]
) -> DecodedImages:
    """All `count` pictures in one array; decoded once, then mapped from the cache under `key`.

    Raises:
        UserError: a broken picture (unless `skip`), pictures of different sizes, or none at all.
    """
    folder = cache_folder(FORMAT, form, skip, *key)
    if not (folder / "meta.json").exists():
        with atomic_folder(folder) as work:
            meta = _decode_to_file(pictures, count, form, skip, work)
            (work / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")[: len(meta["rows"])]
    return DecodedImages(pixels, np.array(meta["rows"], np.int64), tuple(meta["broken"]))


def _decode_to_file(
    pictures: Iterable[EncodedImage], count: int, form: ImageSpec, skip: bool, work: Path
) -> dict[str, Any]:
    """Decode into a file row by row; the first good picture says what the others must be like."""
    out: Pixels | None = None
    rows: list[int] = []
    broken: list[str] = []
    first = ""
    for number, picture in enumerate(pictures):
        try:
            pixels = picture_pixels(picture.open(), form)
        except Exception as error:  # every format of PIL's has its own
            if not skip:
                raise _broken(picture.name, error) from None
            broken.append(picture.name)
            continue
        if out is None:
            first, form = picture.name, form._replace(channels=len(pixels))
            shape = (count, *pixels.shape)
            out = np.lib.format.open_memmap(work / "pixels.npy", "w+", np.uint8, shape)
        if pixels.shape != out.shape[1:]:
            raise _unequal(first, out.shape[2:], picture.name, pixels.shape[1:])
        out[len(rows)] = pixels
        rows.append(number)
    if out is None:
        example = f", {broken[0]} for one" if broken else ""
        raise UserError(f"none of {count} pictures can be read{example}: give some in a known format")
    out.flush()  # type: ignore[attr-defined]
    return {"rows": rows, "broken": broken}


def _broken(name: str, error: Exception) -> UserError:
    return UserError(
        f"{name} is no picture that can be read ({first_line(error)}): "
        "mend or remove it, or set data.on_bad_image=skip"
    )


def _unequal(first: str, one: tuple[int, ...], name: str, other: tuple[int, ...]) -> UserError:
    sizes = f"{one[0]} x {one[1]}", f"{other[0]} x {other[1]}"
    return UserError(
        f"{first} has {sizes[0]} pixels and {name} {sizes[1]}: give data.size: [height, width] for all"
    )
