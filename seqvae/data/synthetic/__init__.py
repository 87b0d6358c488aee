"""Embedded synthetic data sets of sentences and images with known factors, generated from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqvae.data.synthetic import blob, sentences, shapes
from seqvae.keyed_noise import KeyedNoise


@dataclass(frozen=True)
class SentenceCorpus:
    """Disjoint splits of distinct sentences; `factors` maps each label to its values."""

    sizes: Mapping[str, int]
    factors: Mapping[str, tuple[str, ...]]
    seed: int = 0

    def examples(self, split: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The sentences of `split` (train, valid or test) with their labels, ordered as `factors`."""
        start = 0
        for name, size in self.sizes.items():
            if name == split:
                return sentences.iter_sentences(size, self.seed, start)
            start += size
        raise KeyError(split)


CORPORA: dict[str, SentenceCorpus] = {
    "sentences": SentenceCorpus({"train": 20_000, "valid": 2_000, "test": 2_000}, sentences.FACTORS),
}


@dataclass(frozen=True)
class PictureSet:
    """Splits of images without common combinations of factors; `factors` maps each label to its values.

    `categories` names the values 0, 1, ... of a factor.
    """

    sizes: Mapping[str, int]
    factors: Mapping[str, tuple[float, ...]]
    draw: Callable[[npt.NDArray[Any]], npt.NDArray[np.uint8]]  # values (N, F) to pixels (N, C, H, W)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seed: int = 0

    def render(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The images (N, C, H, W) of codes (N, F), indices into the values of each factor."""
        return self.draw(self.values(codes))

    def values(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The factor values (N, F) of codes: the labels."""
        columns = zip(self.factors.values(), np.asarray(codes).T, strict=True)
        return np.stack([np.array(values)[column] for values, column in columns], 1)

    def codes(self, split: str) -> npt.NDArray[np.int64]:
        """The codes (N, F) of `split` (train, valid or test), in random order by seed."""
        counts = tuple(len(values) for values in self.factors.values())
        every = torch.arange(int(np.prod(counts)))
        order = torch.argsort(KeyedNoise(self.seed, 0, every).uniform("pictures"), stable=True)
        return np.stack(np.unravel_index(order.numpy()[self.places(split)], counts), 1)

    def places(self, split: str) -> npt.NDArray[np.int64]:
        """Positions (N,) of the images of `split` in that order."""
        start = 0
        for name, size in self.sizes.items():
            if name == split:
                return np.arange(start, start + size)
            start += size
        raise KeyError(split)


_SIZES = {"train": 20_000, "valid": 2_000, "test": 2_000}
_RADIUS = {**blob.POSITIONS, "radius": blob.RADII}
PICTURES: dict[str, PictureSet] = {
    "blob": PictureSet({"train": 2048, "valid": 512, "test": 1536}, blob.POSITIONS, blob.draw),
    "blob_radius": PictureSet(_SIZES, _RADIUS, blob.draw),
    "blob_brightness": PictureSet(_SIZES, {**_RADIUS, "brightness": blob.BRIGHTNESSES}, blob.draw),
    "shapes": PictureSet(_SIZES, shapes.FACTORS, shapes.draw, shapes.CATEGORIES),
}
