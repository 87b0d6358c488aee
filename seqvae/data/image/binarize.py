"""Binarisation of grey images by samples keyed by image.

Shapes: B images of C x H x W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqvae.keyed_noise import KeyedNoise

FIXED = 0  # sample number of fixed binarisation and of evaluation; epoch e of training has e + 1
_AT_ONCE = 1 << 22  # pixels whose noise is in memory at once

Pixels = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


def sample_binary(pixels: Pixels, places: Places, seed: int, draw: int = FIXED) -> Tensor:
    """(B, C, H, W) bool, True for white: a sample from Bernoulli(grey / 255) per pixel of (B, C, H, W).

    The noise is a function of (seed, draw, place): `places` (B,) are the images' positions in their source.
    """
    random = KeyedNoise(seed, draw, torch.from_numpy(np.asarray(places, np.int64)))
    chance = random.uniform("binarize", *pixels.shape[1:])  # open interval: black stays black
    return chance.mul_(255) < torch.from_numpy(np.asarray(pixels))


def binarize_fixed(pixels: npt.NDArray[Any], places: Places, seed: int) -> Pixels:
    """The images (N, C, H, W) with levels 0 and 255 only, sampled once."""
    out = np.empty(pixels.shape, np.uint8)
    rows = max(1, _AT_ONCE // max(1, pixels[:1].size))
    for start in range(0, len(pixels), rows):
        some = slice(start, start + rows)
        out[some] = sample_binary(np.array(pixels[some]), places[some], seed).numpy()
    out *= 255
    return out
