"""Grey pixels become black or white, each by a draw that belongs to its picture alone.

Shapes: B pictures of C x H x W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqvae.keyed_noise import KeyedNoise

FIXED = 0  # the draw of fixed binarisation and of every evaluation; epoch e of training has draw e + 1
_AT_ONCE = 1 << 22  # pixels: the noise of so many is held at once

Pixels = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


def sample_binary(pixels: Pixels, places: Places, seed: int, draw: int = FIXED) -> Tensor:
    """(B, C, H, W) of true where white: a draw from Bernoulli(grey / 255) for each pixel (B, C, H, W).

    The noise is a function of (seed, draw, place): `places` (B,) are the pictures' places in their source.
    """
    random = KeyedNoise(seed, draw, torch.from_numpy(np.asarray(places, np.int64)))
    chance = random.uniform("binarize", *pixels.shape[1:])  # in (0, 1): black stays black, white white
    return chance.mul_(255) < torch.from_numpy(np.asarray(pixels))


def binarize_fixed(pixels: npt.NDArray[Any], places: Places, seed: int) -> Pixels:
    """The pictures (N, C, H, W) with levels 0 and 255 alone, drawn once."""
    out = np.empty(pixels.shape, np.uint8)
    rows = max(1, _AT_ONCE // max(1, pixels[:1].size))
    for start in range(0, len(pixels), rows):
        some = slice(start, start + rows)
        out[some] = sample_binary(np.array(pixels[some]), places[some], seed).numpy()
    out *= 255
    return out
