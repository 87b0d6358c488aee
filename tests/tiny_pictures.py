"""Tiny pictures and the files that hold them: what the image tests share.

Shapes: N pictures, C x H x W pixels.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny import DEVICE

from seqvae.config.schema import ImageDataConfig
from seqvae.data.image.batch import ImageBatch
from seqvae.data.image.codec import ImageProcessor
from seqvae.data.image.dataset import ImageData, load_data
from seqvae.data.image.image_store import ImageStore
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.image import DECODERS, ENCODERS
from seqvae.models.latents import LATENTS
from seqvae.models.priors import PRIORS
from seqvae.models.vae import VAE

SHAPE = (1, 5, 7)


def grey(n: int, height: int = 5, width: int = 7, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Random levels (N, C, H, W)."""
    return np.random.default_rng(seed).integers(0, 256, (n, channels, height, width), dtype=np.uint8)


def write_idx(path: Path, array: np.ndarray, magic: int | None = None) -> Path:
    """An idx file of bytes; gzipped where the name says so."""
    head = (0x0800 | array.ndim if magic is None else magic).to_bytes(4, "big")
    data = head + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_folder(root: Path, pixels: np.ndarray, homes: list[str]) -> Path:
    """A PNG a picture, in the folders named."""
    for i, (picture, home) in enumerate(zip(pixels, homes, strict=True)):
        (root / home).mkdir(parents=True, exist_ok=True)
        array = picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, 2)
        Image.fromarray(array).save(root / home / f"{i:03}.png")
    return root


def loaded(train: Path | str | None = None, **settings: Any) -> ImageData:
    """The data of a config block."""
    return load_data(ImageDataConfig(train=None if train is None else str(train), **settings))


def store_of(pixels: np.ndarray) -> ImageStore:
    """A store without labels."""
    return ImageStore(pixels, np.zeros((len(pixels), 0), np.float32), (), np.arange(len(pixels)))


def codec_of(pixels: np.ndarray, binarize: Any = "none", seed: int = 0) -> ImageProcessor:
    """The codec of pictures (N, C, H, W)."""
    return ImageProcessor(*pixels.shape[1:], binarize, seed)


def picture_batch(
    n: int = 3, shape: tuple[int, int, int] = SHAPE, seed: int = 0, binary: bool = True
) -> ImageBatch:
    """Pictures of zeros and ones, or of grey values."""
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))
    x = (x > 0.5).float() if binary else torch.round(x * 255) / 255
    index = torch.arange(n)
    return ImageBatch(x, x, index, torch.zeros(n, 0), KeyedNoise(seed, 0, index))


def tiny_vae(
    name: str = "mlp", shape: tuple[int, int, int] = SHAPE, prior: str = "standard", **decoder: Any
) -> VAE:
    """A VAE of the named parts, z of 2 dims."""
    torch.manual_seed(0)
    encoder = ENCODERS[name](shape=shape)  # type: ignore[call-arg]
    latent = LATENTS["gaussian"](encoder.out_dim, 2)  # type: ignore[call-arg]
    given = {"components": 3} if prior == "vamp" else {}
    priors: Any = PRIORS
    p = priors[prior](2, encoder, latent, **given) if prior == "vamp" else priors[prior](2)
    return VAE(encoder, latent, p, DECODERS[name](shape=shape, latent_dim=2, **decoder))  # type: ignore[call-arg]


# a tiny run on pictures
BASE = {
    "modality": "image",
    "data": {"name": "blob", "labels": ["x", "y"], "examples": 120},
    "encoder": {"name": "mlp", "hidden": [32]},
    "latent": {"name": "gaussian", "dim": 3},
    "decoder": {"name": "mlp", "hidden": [32]},
    "remedies": [{"name": "constant_beta", "beta": 0.1}],
    "train": {"steps": 30, "batch_size": 20, "log_every": 10, "validate_every": 15, "lr": 0.01,
              "precision": "fp32", "device": DEVICE, "valid_examples": 40},
}  # fmt: skip
