"""Conversion of arrays and PIL images to uint8 pixels (N, C, H, W) of a given size and channels.

Shapes: N images, C channels, H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqvae.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
_LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R 601 in 65536ths, the weights that PIL uses

_ORIENTATION = 0x0112  # a tag of EXIF


class ImageSpec(NamedTuple):
    """Required size and channels of images; None leaves them unchanged."""

    size: tuple[int, int] | None = None  # height, width
    channels: int | None = None
    bits: bool | None = None  # whether integers are zeros and ones; None: if none is above 1


def to_pixels(array: Array, form: ImageSpec, where: str) -> Pixels:
    """Convert grey images (N, H, W), or (N, H, W, C) or (N, C, H, W); `where` is their source in errors.

    Raises:
        UserError: not images, or values that are not pixels.
    """
    array = to_channels_first(array, where)
    if not array.size:
        raise UserError(f"{where} holds no pictures (shape {array.shape}): give at least one")
    pixels = with_channels(to_levels(array, where, form.bits), form.channels)
    return pixels if form.size in (None, pixels.shape[2:]) else resize(pixels, form.size)


def to_channels_first(array: Array, where: str) -> Array:
    """Move channels first, (N, C, H, W) with C 1 or 3; if both axes could be C, it is the last one.

    Raises:
        UserError: another shape.
    """
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return np.moveaxis(array, 3, 1)
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    raise UserError(
        f"{where} has shape {array.shape}: pictures are (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3"
    )


def to_levels(array: Array, where: str, bits: bool | None = None) -> Pixels:
    """Convert levels, floats in [0, 1], or zeros and ones to uint8 levels.

    Integers of which none is above 1 count as zeros and ones, unless `bits` is False.

    Raises:
        UserError: values of another type, or outside their range.
    """
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise UserError(f"{where} holds {array.dtype} values: give uint8 levels, or floats from 0 to 1")
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f":
        if not (low >= 0 and high <= 1):
            raise UserError(f"{where} holds floats from {low:g} to {high:g}: scale them to [0, 1]")
        return np.round(array * np.float32(255)).astype(np.uint8)
    if low < 0 or high > 255:
        raise UserError(f"{where} holds whole numbers from {low:g} to {high:g}: levels are 0 to 255")
    if high <= 1 and bits is not False:  # black and white written as 0 and 1
        return array.astype(np.uint8) * np.uint8(255)
    return array if array.dtype == np.uint8 else array.astype(np.uint8)


def are_bits(array: Array) -> bool | None:
    """Whether integers are zeros and ones; None for floats and booleans, whose scale is clear."""
    return bool(array.max(initial=0) <= 1) if array.dtype.kind in "iu" else None


def with_channels(pixels: Pixels, channels: int | None) -> Pixels:
    """Convert between grey and three channels."""
    if channels in (None, pixels.shape[1]):
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=1)
    grey = np.einsum("nchw,c->nhw", pixels.astype(np.uint32), _LUMA)
    luma: Pixels = ((grey + 0x8000) >> 16).astype(np.uint8)[:, None]
    return luma


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize every image to `size` (height, width) by bilinear interpolation."""
    from PIL import Image

    count, channels = pixels.shape[:2]
    out = np.empty((count, channels, *size), np.uint8)
    for row, picture in zip(out, pixels, strict=True):
        for plane, grey in zip(row, picture, strict=True):
            small = Image.fromarray(np.ascontiguousarray(grey)).resize(size[::-1], Image.Resampling.BILINEAR)
            plane[...] = np.asarray(small)
    return out


def first_line(error: Exception) -> str:
    """The first sentence of a library's error, for our own message."""
    return str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__


def picture_pixels(picture: Image, form: ImageSpec) -> Pixels:
    """Pixels (C, H, W) of a PIL image, upright; by default one channel if it is grey, otherwise three.

    Raises:
        ValueError: grey values with more than 8 bits.
    """
    from PIL import Image, ImageOps

    if picture.getexif().get(_ORIENTATION, 1) != 1:  # the camera was rotated
        picture = ImageOps.exif_transpose(picture)
    if picture.mode[0] in "IF":
        raise ValueError(f"more than 256 levels of grey, mode {picture.mode}")
    channels = form.channels or (1 if picture.mode in ("1", "L", "LA") else 3)
    picture = picture.convert("L" if channels == 1 else "RGB")
    if form.size is not None and picture.size != form.size[::-1]:
        picture = picture.resize(form.size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(picture)
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
