"""From stored pictures to batches: levels become values in [0, 1], or draws of black and white.

Shapes: B pictures, N in the store, C x H x W pixels, L labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqvae.data.image.batch import ImageBatch
from seqvae.data.image.binarize import FIXED, binarize_fixed, sample_binary
from seqvae.data.image.codec import ImageProcessor
from seqvae.data.image.image_store import ImageStore
from seqvae.keyed_noise import KeyedNoise

Rows = npt.NDArray[np.int64]


def collate(
    store: ImageStore, rows: npt.NDArray[Any], codec: ImageProcessor, seed: int = 0, step: int = 0,
    draw: int = FIXED,
) -> ImageBatch:  # fmt: skip
    """The pictures `rows` (B,) of a store, on the CPU; `draw` is that of stochastic binarisation."""
    rows = np.asarray(rows, np.int64)
    pixels = np.array(store.pixels[rows])
    if codec.binarize == "stochastic":
        x = sample_binary(pixels, store.places[rows], codec.binarize_seed, draw).float()
    else:
        x = torch.from_numpy(pixels).float().div_(255)
    labels = torch.from_numpy(np.array(store.labels[rows], np.float32))
    return _batch(x, labels, rows, seed, step)


def batch_from_pixels(
    pixels: npt.NDArray[np.uint8], codec: ImageProcessor, seed: int = 0, step: int = 0
) -> ImageBatch:
    """A batch of given pictures (B, C, H, W), numbered from 0, without labels (B, 0)."""
    rows = np.arange(len(pixels))
    if codec.binarize != "none":
        pixels = binarize_fixed(pixels, rows, codec.binarize_seed)
    x = torch.from_numpy(np.array(pixels)).float().div_(255)
    return _batch(x, torch.zeros(len(rows), 0), rows, seed, step)


def _batch(x: Tensor, labels: Tensor, rows: Rows, seed: int, step: int) -> ImageBatch:
    index = torch.from_numpy(rows)
    return ImageBatch(x, x, index, labels, KeyedNoise(seed, step, index))
