"""From stored images to batches: levels become values in [0, 1], or binary samples.

Shapes: B images, N in the store, C x H x W pixels, L labels.
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
from seqvae.data.image.image_store import ImageStore, iter_chunks
from seqvae.data.splits import Rows
from seqvae.keyed_noise import KeyedNoise, Signed, hash_content


def collate(
    store: ImageStore, rows: npt.NDArray[Any], codec: ImageProcessor, seed: int = 0, step: int = 0,
    draw: int = FIXED,
) -> ImageBatch:  # fmt: skip
    """The images `rows` (B,) of a store, on the CPU; `draw` numbers the sample of stochastic binarisation."""
    rows = np.asarray(rows, np.int64)
    pixels = np.array(store.pixels[rows])
    if codec.binarize == "stochastic":
        x = sample_binary(pixels, store.noise_keys[rows], codec.binarize_seed, draw).float()
    else:
        x = torch.from_numpy(pixels).float().div_(255)
    labels = torch.from_numpy(np.array(store.labels[rows], np.float32))
    return _batch(x, labels, rows, seed, step)


def batch_from_pixels(
    pixels: npt.NDArray[np.uint8],
    codec: ImageProcessor,
    seed: int = 0,
    step: int = 0,
    keys: Signed | None = None,
) -> ImageBatch:
    """A batch of given images (B, C, H, W), numbered from 0, without labels (B, 0).

    Binarisation is keyed by content, all other noise by `keys` (B,), by default also the content.
    """
    contents = keys_of(pixels)
    if codec.binarize != "none":
        pixels = binarize_fixed(pixels, contents, codec.binarize_seed)
    x = torch.from_numpy(np.array(pixels)).float().div_(255)
    batch = _batch(x, torch.zeros(len(pixels), 0), np.arange(len(pixels)), seed, step)
    index = torch.from_numpy(contents if keys is None else keys)
    return batch.replace(random=KeyedNoise(seed, step, index))


def keys_of(pixels: npt.NDArray[np.uint8]) -> Signed:
    """(B,) hash of each image's content, see `hash_content`, from (B, C, H, W)."""
    parts = [hash_content(part.reshape(-1), np.full(len(part), part[0].size)) for part in iter_chunks(pixels)]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def keys_of_batch(batch: ImageBatch) -> Signed:
    """(B,) the same keys for a batch on the CPU."""
    return keys_of(batch.targets.mul(255).round().to(torch.uint8).numpy())


def _batch(x: Tensor, labels: Tensor, rows: Rows, seed: int, step: int) -> ImageBatch:
    index = torch.from_numpy(rows)
    return ImageBatch(x, x, index, labels, KeyedNoise(seed, step, index))
