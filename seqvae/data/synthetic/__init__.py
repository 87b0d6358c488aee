"""Text and pictures drawn from known factors: the embedded defaults, made anew from a seed, never fetched."""

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
    """Splits of distinct sentences that share none; `factors` names each label and its values."""

    sizes: Mapping[str, int]
    factors: Mapping[str, tuple[str, ...]]
    seed: int = 0

    def examples(self, split: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The sentences of `split` (train, valid or test) with their labels, in the order of `factors`."""
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
    """Splits of pictures that share no combination of factors; `factors` names each label and its values.

    A factor in `categories` has names for its values 0, 1, ...
    """

    sizes: Mapping[str, int]
    factors: Mapping[str, tuple[float, ...]]
    draw: Callable[[npt.NDArray[Any]], npt.NDArray[np.uint8]]  # values (N, F) to pixels (N, C, H, W)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seed: int = 0

    def render(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The pictures (N, C, H, W) of codes (N, F): the place of each value among its factor's."""
        return self.draw(self.values(codes))

    def values(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The values (N, F) of combinations of factors: the labels."""
        columns = zip(self.factors.values(), np.asarray(codes).T, strict=True)
        return np.stack([np.array(values)[column] for values, column in columns], 1)

    def codes(self, split: str) -> npt.NDArray[np.int64]:
        """The combinations of `split` (train, valid or test), (N, F), in the seed's order."""
        counts = tuple(len(values) for values in self.factors.values())
        every = torch.arange(int(np.prod(counts)))
        order = torch.argsort(KeyedNoise(self.seed, 0, every).uniform("pictures"), stable=True)
        return np.stack(np.unravel_index(order.numpy()[self.places(split)], counts), 1)

    def places(self, split: str) -> npt.NDArray[np.int64]:
        """Where in the seed's order the pictures of `split` stand, (N,)."""
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
