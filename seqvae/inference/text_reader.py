"""`TextReader`: a user's sentences, or vectors, as token ids, noise keys and batches for a text run.

Shapes: N sentences or vectors, W width of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from seqvae.config.schema import TextRunConfig
from seqvae.data.text.batch import TextBatch
from seqvae.data.text.batching import batch_from_ids, keys_of, token_bounded, with_source
from seqvae.data.text.readers import Example
from seqvae.data.text.source import Array, SourceReader, SourceRows
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.data.text.vectors import GivenVectors
from seqvae.data.values import clean_text
from seqvae.errors import UserError
from seqvae.inference.remarks import say_cut, say_unknown
from seqvae.keyed_noise import KeyedNoise, Signed, distinguish_repeats, hash_codes
from seqvae.models.pretrained.sources import source_reader
from seqvae.runs.run_folder import Run


class TextReader:
    """Reads sentences as the run's training did; a run whose encoder takes vectors reads these instead."""

    def __init__(self, run: Run, config: TextRunConfig, device: torch.device) -> None:
        self.path, self.config, self.device = run.path, config, device
        self.tokenizer: TextTokenizer = run.codec
        self.max_tokens = config.data.max_tokens

    @cached_property
    def source(self) -> SourceReader | None:
        """The reader of the encoder's own input, if it does not read the run's tokens."""
        return source_reader(self.config)

    @property
    def reads_vectors(self) -> bool:
        """Whether inputs are vectors (N, W) instead of sentences."""
        return isinstance(self.source, GivenVectors)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence, of at most `max_tokens` tokens.

        Raises:
            UserError: not a string, or a sentence without a token.
        """
        ids = self.tokenizer.encode_batch([_clean(place, text) for place, text in enumerate(texts)])
        for place, (text, found) in enumerate(zip(texts, ids, strict=True)):
            if not found:
                raise UserError(
                    f"text {place}: {text!r} holds no token: give a sentence with at least one word"
                )
        if cut := sum(len(row) > self.max_tokens for row in ids):
            say_cut(self.path, f"{cut:,} of {len(ids):,} sentences", self.max_tokens)
        return [row[: self.max_tokens] for row in ids]

    def unknown(self, texts: Sequence[str]) -> list[list[bool]]:
        """Which of the tokens that the model reads are out of vocabulary, per sentence."""
        return self.tokenizer.unknown(list(texts), self.token_ids(texts))

    def noise_keys(self, inputs: Sequence[Any], repeats_differ: bool) -> Signed:
        """(N,) noise key of each sentence, a hash of its tokens, or of each vector.

        With `repeats_differ` the key also depends on how often the same input came before.
        """
        if self.reads_vectors:
            keys = hash_codes(torch.from_numpy(self.check_vectors(inputs)))
        else:
            keys = keys_of(self.token_ids(inputs))
        return distinguish_repeats(keys) if repeats_differ else keys

    def batches(
        self, inputs: Sequence[Any], seed: int, repeats_differ: bool = False, batch_size: int = 64
    ) -> Iterator[TextBatch]:
        """Sentences, or vectors (N, W) if the encoder reads these: then the batch has no tokens.

        Raises:
            UserError: as `token_ids` and `check_vectors`.
        """
        vectors = self.check_vectors(inputs) if self.reads_vectors else None
        ids = self.token_ids(inputs) if vectors is None else [[] for _ in vectors]
        if vectors is None:
            say_unknown(self.path, self.unknown(inputs), self.tokenizer.token(self.tokenizer.special.unk))
        keys = torch.from_numpy(self.noise_keys(inputs, repeats_differ))
        for part in token_bounded([len(row) for row in ids], batch_size):
            batch = batch_from_ids(ids[part], self.tokenizer.special, seed)
            if vectors is not None:
                batch = with_source(batch, SourceRows(vectors[part]))
            elif self.source is not None:
                examples = [Example(self._as_in_training(text)) for text in inputs[part]]
                batch = with_source(batch, self.source.read(examples))
            rows = torch.arange(part.start, part.stop)
            yield batch.replace(index=rows, random=KeyedNoise(seed, 0, keys[rows])).to(self.device)

    def check_vectors(self, given: Any) -> Array:
        """The user's vectors (N, W) in fp32.

        Raises:
            UserError: sentences, another width than the run's, or NaN or infinite values.
        """
        if len(given) and isinstance(given[0], str):
            raise UserError(
                "this run reads vectors, not sentences: `seqvae decode RUN --vectors FILE` (vae.encode of a "
                "matrix (N, W)) takes them"
            )
        vectors = np.asarray(given, np.float32)
        width = self.tokenizer.sizes["source"].width
        if vectors.ndim != 2 or vectors.shape[1] != width:
            raise UserError(f"vectors have shape {vectors.shape}: this run reads (N, {width})")
        if not np.isfinite(vectors).all():
            raise UserError("some vectors hold nan or inf: give finite numbers")
        return vectors

    def _as_in_training(self, text: str) -> str:
        """The text, cleaned and truncated where `max_tokens` ends."""
        text = clean_text(text)
        if len(self.tokenizer.encode(text)) <= self.max_tokens:
            return text
        return text[: self.tokenizer.characters(text, self.max_tokens)]


def _clean(place: int, text: Any) -> str:
    """The text, cleaned as in training.

    Raises:
        UserError: not a string.
    """
    if not isinstance(text, str):
        raise UserError(f"text {place} is {str(text)[:40]!r}, a {type(text).__name__}: give strings")
    return clean_text(text)
