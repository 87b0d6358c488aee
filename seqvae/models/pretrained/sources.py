"""Source readers: the inputs of pretrained and vector encoders, for training data and in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch

from seqvae.config.registry import construct, lookup
from seqvae.config.schema import TextRunConfig
from seqvae.data.cache import content_key
from seqvae.data.text.readers import Example
from seqvae.data.text.source import SourceReader, SourceRows
from seqvae.data.text.vectors import GivenVectors
from seqvae.errors import UserError
from seqvae.models.latents import LATENTS
from seqvae.models.pretrained.backbone import LoRA, Train
from seqvae.models.pretrained.base import find_base
from seqvae.models.pretrained.embedder import Embedder, FrozenFeatures
from seqvae.models.pretrained.encoder import Hidden
from seqvae.models.pretrained.sentences import Pooling, WordReader, recipe_of


class OwnTokens:
    """Reads examples as ids of the encoder's own tokenizer."""

    def __init__(self, model: str, revision: str | None, pooling: Pooling) -> None:
        self.base = find_base(model, revision)
        self.recipe = recipe_of(self.base, pooling)

    @cached_property
    def words(self) -> WordReader:
        """The tokenizer, loaded at first use."""
        return WordReader(self.base, self.recipe)

    @property
    def fingerprint(self) -> str:
        """A hash of the tokenizer's files."""
        files = sorted((self.base.folder / self.recipe.folder).glob("*token*"))
        return content_key("tokens", self.recipe, *(file.read_bytes() for file in files if file.is_file()))

    def read(self, examples: Sequence[Example]) -> SourceRows:
        """The ids of each text."""
        ids = self.words.ids([example.text for example in examples])
        lengths = np.array([len(row) for row in ids], np.int64)
        return SourceRows(np.array([i for row in ids for i in row], np.int64), lengths, self.words.pad)


def _given_reader(hidden: Hidden = 0, layers: Hidden = 1) -> SourceReader:
    return GivenVectors()


def _pretrained_reader(
    model: str,
    revision: str | None = None,
    pooling: Pooling = "auto",
    train: Train = "frozen",
    lora: LoRA = LoRA(),  # noqa: B008
    hidden: Hidden = 0,
    layers: Hidden = 1,
) -> SourceReader:
    return _frozen(model, revision, pooling) if train == "frozen" else OwnTokens(model, revision, pooling)


@lru_cache(maxsize=4)
def _frozen(model: str, revision: str | None, pooling: Pooling) -> FrozenFeatures:
    """The reader of a frozen model, one per process, so that it is loaded once."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return FrozenFeatures(Embedder(find_base(model, revision), pooling, device))


SOURCES: dict[str, Callable[..., SourceReader]] = {"vectors": _given_reader, "pretrained": _pretrained_reader}


def source_reader(config: TextRunConfig) -> SourceReader | None:
    """The source reader of a config's encoder; None if it reads the run's own tokens, or there is no encoder.

    Raises:
        UserError: a missing model, a wrong argument, or vectors for an encoder that does not read them.
    """
    given = config.data.vectors or config.data.valid_vectors or config.data.test_vectors
    if given and config.encoder.name != "vectors":
        raise UserError(
            f"data.vectors got {given!r} and encoder {config.encoder.name!r} reads none: use encoder=vectors"
        )
    if config.encoder.name not in SOURCES or not lookup("latent", LATENTS, config.latent.name).needs_encoder:
        return None
    return construct("encoder", SOURCES, config.encoder)
