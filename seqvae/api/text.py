"""Strings in, strings out: a trained text VAE for use.

Shapes: N sentences, D latent dims, T points of a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqvae.accelerator import runs_ahead
from seqvae.api.base import PretrainedVAE
from seqvae.batch import TextBatch
from seqvae.checkpoint import Run
from seqvae.config import TextRunConfig
from seqvae.generate import Condition, Rate, condition_of, conditions_like, prior_codes
from seqvae.generate import Path as CodePath
from seqvae.interfaces import Batch
from seqvae.numerics import Randomness
from seqvae.registry import UserError
from seqvae.synthetic import CORPORA
from seqvae.text.batching import batch_from_ids
from seqvae.text.data import DEFAULT_CORPUS, load_data, load_examples
from seqvae.text.decoding import Decoding, decode
from seqvae.text.feed import eval_feed
from seqvae.text.likelihood import TextDecoder
from seqvae.text.measuring import TextMeasures, TextTools
from seqvae.text.store import TokenStore
from seqvae.text.tokenizer import TextTokenizer

GREEDY = Decoding(greedy=True)
WRITTEN, GPU_WRITTEN = 256, 2048  # sentences at once


@dataclass(frozen=True)
class Reconstruction:
    """A sentence and what came back of it."""

    text: str
    reconstruction: str
    exact: bool


@dataclass(frozen=True)
class PathPoint:
    """A point between two sentences: `t` runs from 0 to 1."""

    t: float
    text: str


class TextVAE(PretrainedVAE, library_name="seqvae", tags=["text-vae"]):
    """A trained text VAE for use."""

    modality = "text"

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        super().__init__(run, device)
        assert isinstance(run.config, TextRunConfig)
        self.tokenizer: TextTokenizer = run.codec
        self.config = run.config

    def decode(
        self,
        z: Tensor,
        how: Decoding | None = None,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
    ) -> list[str]:
        """A sentence for each code (N, D), read as one of `rate` nats; greedy unless `how` says otherwise.

        Raises:
            UserError: codes of another size, a rate out of the run's range, or labels that do not match.
        """
        z = self._codes(z)
        c = condition_of(self.vae, len(z), rate, condition)
        written = self._written(z, how or self._greedy(), seed, c)
        return self.tokenizer.decode_batch(written)

    def sample(
        self,
        n: int = 10,
        how: Decoding | None = None,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
    ) -> list[str]:
        """`n` sentences from prior codes at `rate` nats; words are drawn too unless `how` says otherwise.

        Raises:
            UserError: a rate out of the run's range, or labels that are missing or unknown.
        """
        c = condition_of(self.vae, n, rate, condition)
        z = prior_codes(self.vae, n, seed, c=c).cpu()
        how = how or Decoding(max_length=self.config.data.max_tokens)
        return self.tokenizer.decode_batch(self._written(z, how, seed, c))

    def reconstruct(
        self,
        texts: Sequence[str],
        how: Decoding | None = None,
        sample: bool = False,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
    ) -> list[Reconstruction]:
        """Each sentence through its code and back; greedy from the posterior mean by default.

        `rate`: nats of all of them or of each, where the run has a dial; the run's own rate by default.
        `condition`: labels of all of them, {label: value}, or lists of one for each, where it is told any.

        Raises:
            UserError: as `encode`.
        """
        z, c = self._coded(texts, sample, seed, rate, condition)
        back = self.tokenizer.decode_batch(self._written(z, how or self._greedy(), seed, c))
        shown = self.tokenizer.decode_batch(self._ids(texts))
        return [Reconstruction(a, b, a == b) for a, b in zip(shown, back, strict=True)]

    def interpolate(
        self,
        a: str,
        b: str,
        steps: int = 8,
        path: CodePath = "linear",
        how: Decoding | None = None,
        rate: float | None = None,
        condition: Condition | None = None,
    ) -> list[PathPoint]:
        """`steps` sentences on the path between two codes, the ends' own reconstructions included.

        Raises:
            UserError: as `encode`, or fewer than two steps.
        """
        vae = self.with_defaults(rate, condition)
        texts = vae.decode(vae.path(a, b, steps, path), how)
        return [PathPoint(i / (steps - 1), text) for i, text in enumerate(texts)]

    def edit(
        self,
        texts: Sequence[str],
        towards: Sequence[str],
        away: Sequence[str],
        strength: float = 1.0,
        how: Decoding | None = None,
        rate: float | None = None,
        condition: Condition | None = None,
    ) -> list[str]:
        """Each sentence, moved in code space from what the sentences `away` share to what `towards` share.

        `shifted` by `strength` times the `direction` from the ones to the others.

        Raises:
            UserError: as `encode`; or no sentence to move to or from.
        """
        vae = self.with_defaults(rate, condition)
        return vae.shifted(texts, strength * vae.direction(towards, away), how)

    def direction(self, towards: Sequence[str], away: Sequence[str]) -> Tensor:
        """(D,): mean code of `towards` - mean code of `away`.

        The attribute vectors of Larsen et al. 2016, of sentences.

        Raises:
            UserError: as `encode`; or no sentence in one of the groups.
        """
        for name, group in (("towards", towards), ("away", away)):
            if not group:
                raise UserError(f"`{name}` holds no sentence: give some of those that have what is to change")
        return self.encode(towards).mean(0) - self.encode(away).mean(0)

    def shifted(self, texts: Sequence[str], step: Tensor, how: Decoding | None = None) -> list[str]:
        """The sentence at each one's code plus `step`, (D,) or (N, D); greedy unless `how` says otherwise.

        Raises:
            UserError: as `encode`.
        """
        z, c = self._coded(texts)
        return self.tokenizer.decode_batch(self._written(z + step, how or self._greedy(), 0, c))

    def attribute(self, batches: Sequence[Batch], name: str) -> Tensor:
        """A label of each sentence (N,), or its `length` in tokens, `</s>` counted.

        Raises:
            UserError: no label of that name.
        """
        if name == "length" and name not in self.label_names:
            return torch.cat([batch.lengths for batch in batches]).float()
        return super().attribute(batches, name)

    def _evaluated(
        self, data: str | None, batch_size: int, examples: int | None
    ) -> tuple[str, list[TextBatch], TextMeasures]:
        where, store = self._store(data)
        batches = list(eval_feed(store, self.tokenizer, batch_size, examples))
        characters = int(store.chars[:examples].sum())
        tools = TextTools(
            self._reconstructed, partial(self._prior_sampled, batches), self._detokenized, characters
        )
        return where, batches, TextMeasures(tools)

    @property
    def _embedded_factors(self) -> Sequence[str]:
        data = self.config.data
        return () if data.train else tuple(CORPORA[data.name or DEFAULT_CORPUS].factors)

    def _store(self, data: str | None) -> tuple[str, TokenStore]:
        if data is not None:
            return data, load_examples(data, self.tokenizer, self.config.data, self._categories)
        splits = load_data(self.config.data, self.tokenizer)
        return ("valid", splits.valid) if splits.test is None else ("test", splits.test)

    def _reconstructed(self, z: Tensor, batch: TextBatch) -> list[list[int]]:
        return self._written(z, self._greedy(), c=self.vae.condition(batch))

    def _prior_sampled(self, batches: Sequence[Batch], n: int, seed: int) -> list[list[int]]:
        """N greedy draws; a model that is told labels is told those of examples."""
        c = conditions_like(self.vae, batches, n)
        return self._written(prior_codes(self.vae, n, seed, c=c), self._greedy(), c=c)

    def _detokenized(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def _greedy(self) -> Decoding:
        return replace(GREEDY, max_length=self.config.data.max_tokens)

    @torch.no_grad()
    def _written(self, z: Tensor, how: Decoding, seed: int = 0, c: Tensor | None = None) -> list[list[int]]:
        """Word ids for codes (N, D), told c (N, C) or what the model says, a batch after the other."""
        decoder, written = self.vae.decoder, []
        assert isinstance(decoder, TextDecoder)
        for rows in torch.split(torch.arange(len(z)), GPU_WRITTEN if runs_ahead(self.device) else WRITTEN):
            part, random = z[rows].to(self.device), Randomness(seed, 0, rows.to(self.device))
            likelihood: Any = self.vae.likelihood(part[None], None if c is None else c[rows].to(self.device))
            written += decode(decoder, likelihood.start(), len(part), how, random)
        return written

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids = self.tokenizer.encode_batch(list(texts))
        for text, found in zip(texts, ids, strict=True):
            if not found:
                raise UserError(f"{text!r} holds no token: give a sentence with at least one word")
        return ids

    def _batches(self, texts: Sequence[str], seed: int, batch_size: int = 64) -> Iterator[TextBatch]:
        ids = self._ids(texts)
        for start in range(0, len(ids), batch_size):
            batch = batch_from_ids(ids[start : start + batch_size], self.tokenizer.special, seed)
            rows = torch.arange(start, start + batch.size)
            yield batch.changed(index=rows, random=Randomness(seed, 0, rows)).to(self.device)
