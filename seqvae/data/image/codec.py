"""The processor of images: their shape, and how pixels are binarised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from seqvae.data.image.batch import ImageBatch
from seqvae.errors import UserError

Binarize = Literal["none", "fixed", "stochastic"]


@dataclass(frozen=True)
class ImageProcessor:
    """Shape C x H x W and binarisation protocol of the images that a model reads."""

    channels: int
    height: int
    width: int
    binarize: Binarize = "none"
    binarize_seed: int = 0
    bits: bool | None = None  # whether integer training data were zeros and ones

    unit = "pictures"
    vocabulary: ClassVar[None] = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def sizes(self) -> dict[str, Any]:
        """Constructor arguments of encoders and decoders that depend on the images."""
        return {"shape": self.shape}

    @property
    def metadata(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        return asdict(self)

    @classmethod
    def from_metadata(cls, card: Mapping[str, Any]) -> Self:
        """The processor from its `metadata`.

        Raises:
            UserError: not the metadata of an image processor.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(card, Mapping) or not {"channels", "height", "width"} <= set(card) <= names:
            raise UserError(f"{card!r} describes no pictures: a run of modality image says {sorted(names)}")
        return cls(**card)

    def save(self, folder: Path) -> None:
        """Do nothing: config.json holds the metadata."""

    def raw_features(self, batch: ImageBatch) -> Tensor:
        """(B, C H W): the target pixels."""
        return batch.targets.flatten(1)

    @property
    def fingerprint(self) -> str:
        """A hash of the settings; without `bits`, which the pixels already reflect."""
        kept = {name: value for name, value in self.metadata.items() if name != "bits"}
        return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=16).hexdigest()

    @property
    def protocol(self) -> str:
        """Description of the binarisation, without which a likelihood has no meaning."""
        drawn = f"each pixel is white with its grey value as chance, by seed {self.binarize_seed}"
        return {
            "none": "none, pixels are scored as they come",
            "fixed": f"fixed: {drawn}, drawn once (not the file of Larochelle and Murray)",
            "stochastic": f"stochastic: {drawn}, anew in each epoch of training and once for evaluation",
        }[self.binarize]

    def __str__(self) -> str:
        """The size as text, such as 28 x 28 x 1."""
        return f"{self.height} x {self.width} x {self.channels}"
