"""The images of one split, in memory or memory-mapped: uint8 pixels, and labels as numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.data.label_columns import LostLabels
from seqvae.data.labels import hash_labels

_AT_ONCE = 1 << 24  # bytes read at once

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ImageStore:
    """N images of a split.

    `labels` holds numbers, or indices into the names in `categories`; NaN is missing. `places` (N,) are the
    images' positions in their source, which key the binarisation unless `keys` is given.
    """

    pixels: Array  # (N, C, H, W) uint8
    labels: npt.NDArray[np.float32]  # (N, L)
    label_names: tuple[str, ...]
    places: npt.NDArray[np.int64]
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()  # names of broken images that were skipped (on_bad_image)
    total: int = 0  # rows of the source, including broken ones
    ids: tuple[Any, ...] | None = None  # of each row of the source
    bits: bool | None = None  # whether integers were read as zeros and ones
    lost: Mapping[str, LostLabels] = field(default_factory=dict)  # by label
    keys: npt.NDArray[np.int64] | None = None  # (N,) content hashes

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def noise_keys(self) -> npt.NDArray[np.int64]:
        """(N,) keys of the binarisation."""
        return self.places if self.keys is None else self.keys

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Hashes of the images and of each label."""
        found = hashlib.blake2b(f"{self.pixels.shape}".encode(), digest_size=16)
        for part in iter_chunks(self.pixels):
            found.update(part.tobytes())
        return {"examples": found.hexdigest(), **hash_labels(self.label_names, self.labels)}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of pixels, labels and places."""
        found = hashlib.blake2b(digest_size=16)
        found.update(f"{self.pixels.shape} {self.label_names} {dict(self.categories)}".encode())
        for part in iter_chunks(self.pixels):
            found.update(part.tobytes())
        found.update(self.labels.tobytes())
        found.update(self.places.tobytes())
        return found.hexdigest()

    @cached_property
    def levels(self) -> str:
        """Description of the range of pixel values."""
        low, high, grey = 255, 0, False
        for part in iter_chunks(self.pixels):
            low, high = min(low, int(part.min())), max(high, int(part.max()))
            grey = grey or bool(((part != 0) & (part != 255)).any())
        return f"values from {low} to {high} of 255" if grey else "black and white alone"


def iter_chunks(pixels: Array) -> list[Array]:
    """Split the images into parts of limited size."""
    rows = max(1, _AT_ONCE // max(1, pixels[:1].size))
    return [pixels[start : start + rows] for start in range(0, len(pixels), rows)]
