"""Decoding of image files into one cached array on disk; broken files are reported.

Shapes: N images, C x H x W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqvae.data.cache import cache_root, content_key, fill_folder
from seqvae.data.image.pixels import ImageSpec, Pixels, first_line, picture_pixels
from seqvae.errors import UserError

FORMAT = 2


class EncodedImage(NamedTuple):
    """An image to decode: its name in errors, and a function that opens it as a PIL image."""

    name: str
    open: Callable[[], Any]


@dataclass(frozen=True)
class DecodedImages:
    """The images that could be read, their rows, and the names of broken ones."""

    pixels: npt.NDArray[Any]  # (N, C, H, W)
    rows: npt.NDArray[np.int64]  # (N,)
    broken: tuple[str, ...]


def decode_images(
    pictures: Iterable[EncodedImage], count: int, form: ImageSpec, skip: bool, key: tuple[object, ...]
) -> DecodedImages:
    """Decode `count` images into one array, or map it from the cache under `key`.

    Raises:
        UserError: a broken image (unless `skip`), images of different sizes, or no readable image.
    """
    folder = cache_root() / "pictures" / content_key(FORMAT, form, skip, *key)
    if not (folder / "meta.json").exists():
        with fill_folder(folder, "meta.json", "pictures") as work:
            meta = _decode_to_file(pictures, count, form, skip, work)
            (work / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")[: len(meta["rows"])]
    return DecodedImages(pixels, np.array(meta["rows"], np.int64), tuple(meta["broken"]))


def _decode_to_file(
    pictures: Iterable[EncodedImage], count: int, form: ImageSpec, skip: bool, work: Path
) -> dict[str, Any]:
    """Decode into a file row by row; all are grey, or all have three channels if one of them has."""
    out: Pixels | None = None
    rows: list[int] = []
    broken: list[str] = []
    first = ""
    for number, picture in enumerate(pictures):
        try:
            pixels = picture_pixels(picture.open(), form)
        except Exception as error:  # every PIL format raises its own errors
            if not skip:
                raise _broken(picture.name, error) from None
            broken.append(picture.name)
            continue
        if out is None:
            first, out = picture.name, _array(work, count, pixels.shape)
        elif form.channels is None and len(pixels) > out.shape[1] and pixels.shape[1:] == out.shape[2:]:
            out = _with_colours(out, work, len(rows))
        if len(pixels) == 1:
            pixels = np.repeat(pixels, out.shape[1], axis=0)
        if pixels.shape != out.shape[1:]:
            raise _unequal(first, out.shape[2:], picture.name, pixels.shape[1:])
        out[len(rows)] = pixels
        rows.append(number)
    if out is None:
        example = f", {broken[0]} for one" if broken else ""
        raise UserError(f"none of {count} pictures can be read{example}: give some in a known format")
    out.flush()  # type: ignore[attr-defined]
    return {"rows": rows, "broken": broken}


def _array(work: Path, count: int, shape: tuple[int, ...]) -> Pixels:
    return np.lib.format.open_memmap(work / "pixels.npy", "w+", np.uint8, (count, *shape))


def _with_colours(grey: Pixels, work: Path, rows: int) -> Pixels:
    """Convert the first `rows` images from grey to three channels, in a new file."""
    (work / "pixels.npy").rename(work / "grey.npy")
    out = _array(work, len(grey), (3, *grey.shape[2:]))
    for start in range(0, rows, 1024):
        some = slice(start, min(start + 1024, rows))
        out[some] = grey[some]
    (work / "grey.npy").unlink()
    return out


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
