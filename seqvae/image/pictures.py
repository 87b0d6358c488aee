"""Pictures of a user, files or arrays, as a model reads them.

Shapes: N pictures, C x H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from seqvae.image.codec import PictureCodec
from seqvae.image.forming import Form, in_a_line, picture_pixels, to_levels
from seqvae.registry import UserError

Pixels = npt.NDArray[np.uint8]
_OUTSIDE = 10.0  # beyond [0, 1] a decoder's mean may go a little; levels up to 255 are another scale


def read_pictures(paths: Sequence[str | Path], codec: PictureCodec) -> Pixels:
    """uint8 pixels (N, C, H, W) of picture files, brought to the codec's size and channels.

    Raises:
        UserError: a file that is not there, or is no picture.
    """
    from PIL import Image

    form = Form((codec.height, codec.width), codec.channels)
    out = np.zeros((len(paths), *codec.shape), np.uint8)
    for row, path in zip(out, paths, strict=True):
        try:
            with Image.open(path) as picture:
                row[...] = picture_pixels(picture, form)
        except Exception as error:  # every format of PIL's has its own
            reason = "no such file" if isinstance(error, FileNotFoundError) else in_a_line(error)
            raise UserError(
                f"{path} cannot be read as a picture ({reason}): give a .png or .jpg file"
            ) from None
    return out


def levels(pixels: Tensor | npt.NDArray[Any], bits: bool | None = None) -> Pixels:
    """uint8 levels of values in [0, 1], what lies just outside cut off; levels stay as they are.

    Raises:
        UserError: values that are no pixels, or far outside.
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
