"""Strings in, strings out: a trained text VAE for use.

Shapes: N sentences, D latent dims, T points of a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqvae.config.schema import TextRunConfig
from seqvae.data.input_files import in_words
from seqvae.data.synthetic import CORPORA
from seqvae.data.text.batch import TextBatch
from seqvae.data.text.batching import batch_from_ids, keys_of, token_bounded, with_source
from seqvae.data.text.dataset import DEFAULT_CORPUS, load_examples
from seqvae.data.text.feed import measured_feed
from seqvae.data.text.readers import Example
from seqvae.data.text.repetition import most_repeated
from seqvae.data.text.source import Array, SourceReader, SourceRows
from seqvae.data.text.token_store import TokenStore
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.data.text.values import clean_text
from seqvae.data.text.vectors import GivenVectors
from seqvae.errors import UserError
from seqvae.evaluation.metrics.text import TextGeneration, TextMetrics
from seqvae.evaluation.metrics.text_scores import marked
from seqvae.evaluation.score import ExampleScore
from seqvae.inference.constraint import NO_TEXT, Check, Constraint
from seqvae.inference.pretrained import PretrainedVAE
from seqvae.inference.remarks import say_cut, say_lengths, say_unknown
from seqvae.interfaces import Batch, ModalityMetrics
from seqvae.keyed_noise import KeyedNoise, Signed, distinguish_repeats, hash_codes
from seqvae.models.pretrained.sources import source_reader
from seqvae.models.sampling import Condition, Rate, make_condition, resample_conditions, sample_prior
from seqvae.models.sampling import Path as CodePath
from seqvae.models.text.decoding import UNTRUNCATED, GenerationConfig, generate_tokens
from seqvae.models.text.likelihood import TextDecoder
from seqvae.runs.checkpoint import Run
from seqvae.runs.run_data import check_split, load_run_data
from seqvae.utils.accelerator import is_asynchronous

Rule = Constraint | str | Check | None
WRITTEN, GPU_WRITTEN = 256, 2048  # sentences at once
WRITTEN_TOKENS = 1 << 15  # of them at once, on a CPU


@dataclass(frozen=True)
class Reconstruction:
    """A sentence and what came back of it; one with an unknown word is never `exact`."""

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

    @cached_property
    def source(self) -> SourceReader | None:
        """What reads texts for the encoder, where it does not read the run's tokens."""
        return source_reader(self.config)

    @property
    def reads_vectors(self) -> bool:
        """Whether `encode` takes vectors (N, W) instead of sentences."""
        return isinstance(self.source, GivenVectors)

    def decode(
        self,
        z: Tensor,
        how: GenerationConfig | None = None,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        constraint: Rule = None,
    ) -> list[str]:
        """A sentence for each code (N, D), read as one of `rate` nats; greedy unless `how` says otherwise.

        `constraint`: what a sentence must be, see `Constraint`. Where texts are filtered, a code whose
        sentence is not valid is read again with words drawn; `NO_TEXT` (empty) says that none was valid.

        Raises:
            UserError: codes of another size, a rate out of the run's range, labels that do not match, or a
                constraint that cannot be read or met.
        """
        z = self._codes(z)
        c = make_condition(self.vae, len(z), rate, condition)
        keys = distinguish_repeats(hash_codes(z))
        return self._texts(z, how or self._greedy(), seed, c, keys, constraint)

    def sample(
        self,
        n: int = 10,
        how: GenerationConfig | None = None,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        constraint: Rule = None,
    ) -> list[str]:
        """`n` sentences from prior codes at `rate` nats; words are drawn too unless `how` says otherwise.

        By default words are drawn from the likeliest nine tenths (`top_p`), the unknown token is not written,
        and no 4-gram is repeated more than in training text: `UNTRUNCATED` is the model's own distribution.
        Codes are those of the prior that was fitted to the run, if one was, or of `with_prior`.

        `constraint`: what a sentence must be, see `Constraint`. Where texts are filtered, each of the n is
        drawn again, code and words, until it is valid; those without a valid draw are left out.

        Raises:
            UserError: a rate out of the run's range, labels that are missing or unknown, or a constraint that
                cannot be read or met.
        """
        vae = self.with_default_prior(rate)
        c = make_condition(self.vae, n, rate, condition)
        how = self._resolve(how or GenerationConfig(max_length=self.config.data.max_tokens))
        rule = None if constraint is None else Constraint.of(constraint)
        how = how if rule is None else rule.restrict(how, self.tokenizer)

        def draw(rows: Sequence[int], number: int) -> list[str]:
            """Sentences from the codes number * n + rows of the prior."""
            own = torch.tensor(rows, dtype=torch.long) + number * n
            every = None if c is None else c.repeat(number + 1, 1)
            z = sample_prior(vae.vae, (number + 1) * n, seed, c=every).cpu()[own]
            asked = None if every is None else every[own]
            return self.tokenizer.decode_batch(self._written(z, how, seed, asked, own.numpy()))

        if rule is None:
            return draw(range(n), 0)
        return [text for text in rule.collect(n, draw) if text is not None]

    def reconstruct(
        self,
        texts: Sequence[str],
        how: GenerationConfig | None = None,
        sample: bool = False,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        repeats_differ: bool = True,
        constraint: Rule = None,
    ) -> list[Reconstruction]:
        """Each sentence through its code and back; greedy from the posterior mean by default.

        `rate`: nats of all of them or of each, where the run has a dial; the run's own rate by default.
        `condition`: labels of all of them, {label: value}, or lists of one for each, where it is conditional.
        `repeats_differ`: whether a sentence that is given n times gets n different draws.
        `constraint`: as for `decode`.

        The unknown token is written where the training text itself writes it, and a 4-gram is repeated as
        often as in training text or in one of the `texts`: a copy is never ruled out.

        Raises:
            UserError: as `encode` and `decode`.
        """
        z, c = self._encode(texts, sample, seed, rate, condition, repeats_differ)
        keys = self._keys(texts, repeats_differ)
        how = self._copying(how or self._greedy(), texts)
        back = self._texts(z, how, seed, c, keys, constraint)
        shown = self.tokenizer.decode_batch(self._ids(texts))
        pairs = zip(shown, back, self.unknown(texts), strict=True)
        return [Reconstruction(a, b, a == b and not unknown) for a, b, unknown in pairs]

    def unknown(self, texts: Sequence[str]) -> list[int]:
        """(N,) how many tokens of each sentence the vocabulary lacks, of those that the model reads."""
        return [sum(row) for row in self._unknown(texts)]

    def references(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence, for comparison with others: unknown tokens are equal to nothing."""
        return marked(self._ids(texts), self._unknown(texts))

    def _unknown(self, texts: Sequence[str]) -> list[list[bool]]:
        return self.tokenizer.unknown(list(texts), self._ids(texts))

    def score(self, examples: Sequence[str], *arguments: Any, **options: Any) -> list[ExampleScore]:
        """As for any run (see `PretrainedVAE.score`), with how many tokens of each sentence are `unknown`.

        Raises:
            UserError: as there, or the encoder reads vectors, which sentences alone do not have.
        """
        if self.reads_vectors:
            raise UserError(
                "this run reads vectors, and a score needs the sentence of each too: `seqvae evaluate` "
                "measures its own test split"
            )
        found = super().score(examples, *arguments, **options)
        pairs = zip(found, self.unknown(examples), strict=True)
        return [replace(score, unknown=unknown) for score, unknown in pairs]

    def interpolate(
        self,
        a: str,
        b: str,
        steps: int = 8,
        path: CodePath = "linear",
        how: GenerationConfig | None = None,
        rate: float | None = None,
        condition: Condition | None = None,
        constraint: Rule = None,
    ) -> list[PathPoint]:
        """`steps` sentences on the path between two codes, the ends' own reconstructions included.

        Raises:
            UserError: as `encode` and `decode`, or fewer than two steps.
        """
        vae = self.with_defaults(rate, condition)
        texts = vae.decode(vae.path(a, b, steps, path), how, constraint=constraint)
        return [PathPoint(i / (steps - 1), text) for i, text in enumerate(texts)]

    def edit(
        self,
        texts: Sequence[str],
        towards: Sequence[str],
        away: Sequence[str],
        strength: float = 1.0,
        how: GenerationConfig | None = None,
        rate: float | None = None,
        condition: Condition | None = None,
        constraint: Rule = None,
    ) -> list[str]:
        """Each sentence, moved in code space from what the sentences `away` share to what `towards` share.

        `shifted` by `strength` times the `direction` from the ones to the others.

        Raises:
            UserError: as `encode` and `decode`; or no sentence to move to or from.
        """
        vae = self.with_defaults(rate, condition)
        return vae.shifted(texts, strength * vae.direction(towards, away), how, constraint)

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

    def shifted(
        self,
        texts: Sequence[str],
        step: Tensor,
        how: GenerationConfig | None = None,
        constraint: Rule = None,
    ) -> list[str]:
        """The sentence at each one's code plus `step`, (D,) or (N, D); greedy unless `how` says otherwise.

        Raises:
            UserError: as `encode` and `decode`.
        """
        z, c = self._encode(texts)
        keys = self._keys(texts, repeats_differ=True)
        return self._texts(z + step, how or self._greedy(), 0, c, keys, constraint)

    def attribute(self, batches: Sequence[Batch], name: str) -> Tensor:
        """A label of each sentence (N,), or its `length` in tokens, `</s>` counted.

        Raises:
            UserError: no label of that name.
        """
        if name == "length" and name not in self.label_names:
            return torch.cat([batch.target_counts for batch in batches]).float()
        return super().attribute(batches, name)

    def evaluation_inputs(
        self, data: str | Sequence[str] | None, batch_size: int, examples: int | None
    ) -> tuple[str, Sequence[Batch], ModalityMetrics]:
        """The name of the evaluation data, its batches, and what measures them."""
        where, store = self._store(data)
        say_lengths(self.run.path, where, store.counts, self.config.data.max_tokens)
        batches = measured_feed(store, self.tokenizer, batch_size, examples)
        unk = self.tokenizer.special.unk
        tools = TextGeneration(
            self._reconstruct_greedily,
            partial(self._sample_greedily, batches),
            self._detokenize,
            characters=int(store.chars[:examples].sum()),
            spelling=float(np.sum(store.spelling[:examples], dtype=np.float64)),
            literal=int(np.searchsorted(store.literal, store.offsets[: examples and examples + 1][-1])),
            unknown=lambda batch: store.unknown(batch.index.tolist(), unk),
        )
        return where, batches, TextMetrics(tools)

    @property
    def _embedded_factors(self) -> Sequence[str]:
        data = self.config.data
        return () if data.train else tuple(CORPORA[data.name or DEFAULT_CORPUS].factors)

    def _store(self, data: str | Sequence[str] | None) -> tuple[str, TokenStore]:
        if data is not None:
            given = (data, self.tokenizer, self.config.data, self._categories, self.source)
            own = data if isinstance(data, str) and data.endswith(".parquet") else None
            store = load_examples(*given, own if self.reads_vectors else None)
            self._check_labels(store, [*store.notes, *store.lost_labels])
            return in_words(data), store
        splits = load_run_data(self.run)
        name = "test" if "test" in splits.splits else "valid"
        check_split(self.run.path, self.run.card, splits, name)
        return name, splits.splits[name]

    def _reconstruct_greedily(self, z: Tensor, batch: TextBatch) -> list[list[int]]:
        return self._written(z, self._measured(), c=self.vae.condition(batch))

    def _sample_greedily(self, batches: Sequence[Batch], n: int, seed: int) -> list[list[int]]:
        """N greedy draws; a model conditioned on labels takes those of examples."""
        c = resample_conditions(self.vae, batches, n)
        return self._written(sample_prior(self.vae, n, seed, c=c), self._measured(), c=c)

    def _detokenize(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def _greedy(self) -> GenerationConfig:
        return GenerationConfig(greedy=True, max_length=self.config.data.max_tokens)

    def _measured(self) -> GenerationConfig:
        """What is measured: the model as it is."""
        return replace(UNTRUNCATED, greedy=True, max_length=self.config.data.max_tokens)

    def _copying(self, how: GenerationConfig, texts: Sequence[str]) -> GenerationConfig:
        """`how`, so that each of the texts can be written where it says nothing else."""
        unknown = self.tokenizer.unk_is_word if how.unknown is None else how.unknown
        most = self._resolve(how).repeats
        if how.repeats is None and most:
            most = max([most, *(most_repeated(ids) for ids in self._ids(texts))])
        return replace(how, unknown=unknown, repeats=most)

    def _resolve(self, how: GenerationConfig) -> GenerationConfig:
        """`how` with what the run's training text says."""
        return replace(how, repeats=self.tokenizer.repeats) if how.repeats is None else how

    def _texts(
        self,
        z: Tensor,
        how: GenerationConfig,
        seed: int,
        c: Tensor | None,
        keys: Signed,
        constraint: Rule,
    ) -> list[str]:
        """A sentence per code (N, D), told c (N, C) or what the model says; empty where none is valid."""
        how = self._resolve(how)
        rule = None if constraint is None else Constraint.of(constraint)
        how = how if rule is None else rule.restrict(how, self.tokenizer)
        drawn = replace(how, greedy=False, beam=None)

        def write(rows: Sequence[int], number: int) -> list[str]:
            at = torch.tensor(rows, dtype=torch.long)
            told = None if c is None else c[at]
            way = how if number == 0 else drawn
            return self.tokenizer.decode_batch(
                self._written(z[at], way, seed, told, keys[at.numpy()], number)
            )

        if rule is None:
            return write(range(len(z)), 0)
        return [NO_TEXT if text is None else text for text in rule.collect(len(z), write)]

    @torch.no_grad()
    def _written(
        self,
        z: Tensor,
        how: GenerationConfig,
        seed: int = 0,
        c: Tensor | None = None,
        keys: Signed | None = None,
        number: int = 0,
    ) -> list[list[int]]:
        """Word ids for codes (N, D), told c (N, C) or what the model says, a batch after the other.

        `keys` (N,) are those of the words' noise, by default the places of the codes; each `number` of a draw
        has noise of its own.
        """
        decoder, written = self.vae.decoder, []
        assert isinstance(decoder, TextDecoder)
        index = torch.arange(len(z)) if keys is None else torch.from_numpy(keys)
        most = max(1, min(WRITTEN, WRITTEN_TOKENS // how.max_length))
        for rows in torch.split(torch.arange(len(z)), GPU_WRITTEN if is_asynchronous(self.device) else most):
            part, random = z[rows].to(self.device), KeyedNoise(seed, 0, index[rows].to(self.device))
            random = random.fold(number) if number else random
            likelihood: Any = self.vae.likelihood(part[None], None if c is None else c[rows].to(self.device))
            written += generate_tokens(decoder, likelihood.start(), len(part), how, random)
        return written

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids = self.tokenizer.encode_batch([_clean(place, text) for place, text in enumerate(texts)])
        for text, found in zip(texts, ids, strict=True):
            if not found:
                raise UserError(f"{text!r} holds no token: give a sentence with at least one word")
        most = self.config.data.max_tokens
        if cut := sum(len(row) > most for row in ids):
            say_cut(self.run.path, f"{cut:,} of {len(ids):,} sentences", most)
        return [row[:most] for row in ids]

    def with_max_tokens(self, tokens: int) -> TextVAE:
        """The same model, which reads so many tokens of a sentence: by default those that training read.

        Raises:
            UserError: fewer than one.
        """
        if tokens < 1:
            raise UserError(f"max_tokens got {tokens}: a sentence has at least 1")
        data = self.config.data.model_copy(update={"max_tokens": tokens})
        config = self.config.model_copy(update={"data": data})
        return TextVAE(replace(self.run, config=config), self.device)

    def _read(self, text: str) -> str:
        """A text as training's encoder read it: clean, and as far as the kept tokens reach."""
        text, most = clean_text(text), self.config.data.max_tokens
        if len(self.tokenizer.encode(text)) <= most:
            return text
        return text[: self.tokenizer.characters(text, most)]

    def _vectors(self, given: Any) -> Array:
        """Vectors (N, W) as a user gives them.

        Raises:
            UserError: sentences, another width than the run's, or some that are no numbers.
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

    def _keys(self, texts: Sequence[Any], repeats_differ: bool) -> Signed:
        """(N,) what the noise of each sentence is keyed by: its tokens, and perhaps the how-manieth it is.

        Of a vector it is the vector itself.
        """
        vectors = self._vectors(texts) if self.reads_vectors else None
        keys = keys_of(self._ids(texts)) if vectors is None else hash_codes(torch.from_numpy(vectors))
        return distinguish_repeats(keys) if repeats_differ else keys

    def batches(self, texts: Sequence[Any], batch_size: int = 64) -> Iterator[TextBatch]:
        """Sentences, or vectors where the encoder reads these, as batches on the model's device.

        Raises:
            UserError: as `encode`.
        """
        return self._batches(texts, 0, batch_size=batch_size)

    def _batches(
        self, texts: Sequence[Any], seed: int, repeats_differ: bool = False, batch_size: int = 64
    ) -> Iterator[TextBatch]:
        """Sentences, or vectors (N, W) where the encoder reads these: then there are no tokens."""
        vectors = self._vectors(texts) if self.reads_vectors else None
        ids = self._ids(texts) if vectors is None else [[] for _ in vectors]
        if vectors is None:
            unknown = self._unknown(texts)
            say_unknown(self.run.path, unknown, self.tokenizer.token(self.tokenizer.special.unk))
        keys = torch.from_numpy(self._keys(texts, repeats_differ))
        for run in token_bounded([len(row) for row in ids], batch_size):
            batch = batch_from_ids(ids[run], self.tokenizer.special, seed)
            if vectors is not None:
                batch = with_source(batch, SourceRows(vectors[run]))
            elif self.source is not None:
                batch = with_source(
                    batch, self.source.read([Example(self._read(text)) for text in texts[run]])
                )
            rows = torch.arange(run.start, run.stop)
            yield batch.replace(index=rows, random=KeyedNoise(seed, 0, keys[rows])).to(self.device)


def _clean(place: int, text: Any) -> str:
    """A text as training read it.

    Raises:
        UserError: something else.
    """
    if not isinstance(text, str):
        raise UserError(f"text {place} is {str(text)[:40]!r}, a {type(text).__name__}: give strings")
    return clean_text(text)
