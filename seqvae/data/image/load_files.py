"""Conversion of a user's image files and arrays to the pixels that a model reads.

Shapes: N images, C x H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from seqvae.data.image.codec import ImageProcessor
from seqvae.data.image.pixels import ImageSpec, first_line, picture_pixels, to_levels
from seqvae.errors import UserError

Pixels = npt.NDArray[np.uint8]
_OUTSIDE = 10.0  # tolerance: a decoder's mean may leave [0, 1], but 255 is another scale


def load_images(paths: Sequence[str | Path], codec: ImageProcessor) -> Pixels:
    """Read image files as uint8 pixels (N, C, H, W), resized to the processor's size and channels.

    Raises:
        UserError: a missing file, or not an image.
    """
    from PIL import Image

    form = ImageSpec((codec.height, codec.width), codec.channels)
    out = np.zeros((len(paths), *codec.shape), np.uint8)
    for row, path in zip(out, paths, strict=True):
        try:
            with Image.open(path) as picture:
                row[...] = picture_pixels(picture, form)
        except Exception as error:  # every PIL format raises its own errors
            reason = "no such file" if isinstance(error, FileNotFoundError) else first_line(error)
            raise UserError(
                f"{path} cannot be read as a picture ({reason}): give a .png or .jpg file"
            ) from None
    return out


def levels(pixels: Tensor | npt.NDArray[Any], bits: bool | None = None) -> Pixels:
    """Convert floats in [0, 1] (clipped) or integers to uint8 levels; uint8 arrays are unchanged.

    Raises:
        UserError: values that are not pixels, or far outside the range.
    """
    array: npt.NDArray[Any] = (
        pixels.detach().cpu().numpy() if isinstance(pixels, Tensor) else np.asarray(pixels)
    )
    if array.dtype == np.uint8 or not array.size:
        return array.astype(np.uint8)
    if array.dtype.kind != "f":
        return to_levels(array, "pictures", bits)
    low, high = float(array.min()), float(array.max())
    if not (low > -_OUTSIDE and high < 1 + _OUTSIDE):
        raise UserError(f"pictures hold floats from {low:g} to {high:g}: scale them to [0, 1]")
    return np.round(np.clip(array.astype(np.float32), 0, 1) * 255).astype(np.uint8)
