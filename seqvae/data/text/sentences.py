"""What training, measuring and analysis ask of tokenized sentences, whether they lie in one store or in many.

Shapes: N sentences, B of them, T tokens, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from seqvae.data.text.source import SourceFacts, SourceRows
from seqvae.data.text.token_store import Counts

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]


class Shuffles(Protocol):
    """Sentences that know their lengths and in which order an epoch reads them."""

    def __len__(self) -> int: ...

    def lengths_at(self, rows: Rows) -> Rows:
        """(B,) tokens of the sentences `rows`, without `</s>`."""
        ...

    def shuffled(self, places: npt.NDArray[np.uint64], seed: int) -> Rows:
        """The rows at `places` of a permutation of all sentences that `seed` keys."""
        ...


class EncoderSource(Protocol):
    """What the encoder reads of the sentences, where that is not their tokens."""

    def rows(self, rows: Array) -> SourceRows:
        """The chosen sentences (B,)."""
        ...

    def facts(self) -> SourceFacts:
        """Width and statistics over all sentences."""
        ...


class Sentences(Shuffles, Protocol):
    """N tokenized sentences with labels; rows count from 0."""

    @property
    def counts(self) -> Counts:
        """What became of the sentences that were read."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the columns of `labels`."""
        ...

    @property
    def categories(self) -> Mapping[str, Sequence[str]]:
        """Category names by label."""
        ...

    @property
    def labels(self) -> Array:
        """(N, L) float32: numbers, or places in `categories`; NaN is missing."""
        ...

    @property
    def lost_labels(self) -> list[str]:
        """A line for each label that some sentences do not have."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Lines about how the files were read."""
        ...

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of the examples and of each label."""
        ...

    @property
    def key(self) -> str:
        """The name of their content, tokenizer and settings."""
        ...

    @property
    def source(self) -> EncoderSource | None:
        """What the encoder reads, where it is not these tokens."""
        ...

    def grid(self, rows: Rows) -> tuple[Array, Rows]:
        """The ids (B, T - 1) of the sentences `rows` (B,), anything right of their lengths, and these."""
        ...

    @property
    def extent(self) -> dict[str, int]:
        """How many `shards`, `sentences`, `tokens` and `bytes` on disk."""
        ...

    def tokens(self, i: int) -> npt.NDArray[np.int64]:
        """The ids of sentence `i`."""
        ...
