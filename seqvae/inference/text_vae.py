"""`TextVAE`: a trained text VAE that encodes, samples, reconstructs, interpolates and edits sentences.

Shapes: N sentences, D latent dims, T points of a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqvae.config.schema import TextRunConfig
from seqvae.data.text.batch import TextBatch
from seqvae.data.text.batching import batch_from_ids, keys_of, token_bounded, with_source
from seqvae.data.text.dataset import load_examples
from seqvae.data.text.feed import measured_feed
from seqvae.data.text.readers import Example
from seqvae.data.text.repetition import most_repeated
from seqvae.data.text.similar_spelling import SimilarSpelling
from seqvae.data.text.source import Array, SourceReader, SourceRows
from seqvae.data.text.token_store import TokenStore
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.data.text.values import clean_text
from seqvae.data.text.vectors import GivenVectors
from seqvae.errors import UserError
from seqvae.evaluation.metrics.text import TextGeneration, TextMetrics
from seqvae.evaluation.metrics.text_scores import mark_unknown
from seqvae.evaluation.score import ExampleScore
from seqvae.inference.constraint import NO_TEXT, Check, Constraint
from seqvae.inference.given import as_count, as_examples, as_step
from seqvae.inference.inputs import Inputs, Note
from seqvae.inference.pretrained import PretrainedVAE
from seqvae.inference.remarks import say_cut, say_lengths, say_unknown
from seqvae.inference.text_inputs import read_sentences
from seqvae.interfaces import Batch, ModalityMetrics
from seqvae.keyed_noise import KeyedNoise, Signed, distinguish_repeats, hash_codes
from seqvae.models.pretrained.sources import source_reader
from seqvae.models.sampling import Condition, Rate, make_condition, resample_conditions, sample_prior
from seqvae.models.sampling import Path as CodePath
from seqvae.models.text.decoding import UNTRUNCATED, GenerationConfig, generate_tokens
from seqvae.models.text.filling import Pattern, fill_blanks
from seqvae.models.text.likelihood import TextDecoder
from seqvae.runs.checkpoint import Run
from seqvae.utils.accelerator import is_asynchronous
from seqvae.utils.progress import track

Rule = Constraint | str | Check | None
WRITTEN, GPU_WRITTEN = 256, 2048  # sentences generated per batch, on a CPU and on a GPU
WRITTEN_TOKENS = 1 << 15  # tokens per batch, on a CPU
FILLED = 1024  # beams per batch whose blanks are filled


@dataclass(frozen=True)
class Reconstruction:
    """A sentence and its reconstruction; a sentence with an unknown token is never `exact`."""

    text: str
    reconstruction: str
    exact: bool


@dataclass(frozen=True)
class PathPoint:
    """A sentence on the path between two others, at `t` from 0 to 1."""

    t: float
    text: str


class TextVAE(PretrainedVAE, library_name="seqvae", tags=["text-vae"]):
    """A trained text VAE; see `from_pretrained`."""

    modality = "text"

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        super().__init__(run, device)
        assert isinstance(run.config, TextRunConfig)
        self.tokenizer: TextTokenizer = run.codec
        self.config = run.config

    @cached_property
    def source(self) -> SourceReader | None:
        """The reader of the encoder's own input, if it does not read the run's tokens."""
        return source_reader(self.config)

    @cached_property
    def similar_spelling(self) -> SimilarSpelling[int]:
        """The words of the vocabulary by their spelling."""
        special = asdict(self.tokenizer.special).values()
        ids = (i for i in range(self.tokenizer.vocab_size) if i not in special)
        return SimilarSpelling({i: self.tokenizer.token(i) for i in ids})

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
        """Decode codes to sentences.

        Args:
            z: codes (N, D).
            how: how words are chosen; greedy by default.
            seed: seed of the words, if `how` samples them.
            rate: nats per code of a variable-rate run, one number or N; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of N.
            constraint: what a sentence must be, see `Constraint`. Where texts are filtered, words are drawn
                again for a code whose sentence is not valid; `NO_TEXT` (empty) if no draw was valid.

        Returns:
            N sentences.

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
        """Generate `n` sentences from codes sampled from the prior.

        Args:
            n: number of sentences.
            how: how words are chosen; sampled by default.
            seed: seed of codes and words.
            rate: nats per code of a variable-rate run, one number or n; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of n.
            constraint: what a sentence must be, see `Constraint`. Where texts are filtered, each of the n is
                drawn again, code and words, until it is valid; those without a valid draw are left out.

        By default words are drawn from the likeliest nine tenths (`top_p`), the unknown token is not written,
        and no 4-gram is repeated more than in training text: `UNTRUNCATED` is the model's own distribution.
        Codes are those of the prior that was fitted to the run, if one was, or of `with_prior`.

        Raises:
            UserError: a rate out of the run's range, labels that are missing or unknown, or a constraint that
                cannot be read or met.
        """
        vae = self.with_default_prior(rate)
        n = as_count("n", n)
        c = make_condition(self.vae, n, rate, condition)
        how = self._resolve(how or GenerationConfig())
        rule = None if constraint is None else Constraint.of(constraint)
        how = how if rule is None else rule.restrict(how, self.tokenizer)

        def draw(rows: Sequence[int], number: int) -> list[str]:
            """Sentences from the codes number * n + rows of the prior."""
            own = torch.tensor(rows, dtype=torch.long) + number * n
            every = None if c is None else c.repeat(number + 1, 1)
            z = sample_prior(vae.vae, (number + 1) * n, seed, c=every).cpu()[own]
            asked = None if every is None else every[own]
            return self.tokenizer.decode_batch(self._generate(z, how, seed, asked, own.numpy()))

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
        """Encode sentences and decode their codes.

        Args:
            texts: N sentences.
            how: how words are chosen; greedy by default.
            sample: draw z ~ q(z|x) instead of the posterior mean.
            seed: seed of codes and words.
            rate: nats per code of a variable-rate run, one number or N; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of N.
            repeats_differ: whether a sentence that is given n times gets n different samples.
            constraint: as for `decode`.

        The unknown token is written where the training text itself contains it, and a 4-gram is repeated as
        often as in training text or in one of the `texts`: an exact copy is never excluded.

        Raises:
            UserError: as `encode` and `decode`.
        """
        texts = as_examples(texts)
        z, c = self._encode(texts, sample, seed, rate, condition, repeats_differ)
        keys = self._keys(texts, repeats_differ)
        how = self._copying(how or self._greedy(), texts)
        back = self._texts(z, how, seed, c, keys, constraint)
        shown = self.tokenizer.decode_batch(self._ids(texts))
        pairs = zip(shown, back, self.unknown(texts), strict=True)
        return [Reconstruction(a, b, a == b and not unknown) for a, b, unknown in pairs]

    def unknown(self, texts: Sequence[str]) -> list[int]:
        """(N,) number of out-of-vocabulary tokens per sentence, among those that the model reads."""
        return [sum(row) for row in self._unknown(as_examples(texts))]

    def references(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence for comparison with others; an unknown token equals no other token."""
        texts = as_examples(texts)
        return mark_unknown(self._ids(texts), self._unknown(texts))

    def _unknown(self, texts: Sequence[str]) -> list[list[bool]]:
        return self.tokenizer.unknown(list(texts), self._ids(texts))

    def score(self, examples: Sequence[str], *arguments: Any, **options: Any) -> list[ExampleScore]:
        """As `PretrainedVAE.score`, and `unknown`, the number of out-of-vocabulary tokens per sentence.

        Raises:
            UserError: as there, or the encoder reads vectors, which sentences alone do not have.
        """
        if self.reads_vectors:
            raise UserError(
                "this run reads vectors, and a score needs the sentence of each too: `seqvae evaluate` "
                "measures its own test split"
            )
        examples = as_examples(examples)
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
        """Decode the path between the codes of two sentences; the ends are their reconstructions.

        Args:
            a: a sentence.
            b: another one.
            steps: T, number of points.
            path: `linear`, or `slerp` along the great arc.
            how: how words are chosen; greedy by default.
            rate: nats per code of a variable-rate run; the run's default rate if None.
            condition: {label: value} of a conditional run.
            constraint: as for `decode`.

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
        """Shift the code of each sentence by `strength` times the `direction`, and decode it.

        Args:
            texts: sentences to edit.
            towards: sentences that have the attribute.
            away: sentences that lack it or have its opposite.
            strength: factor of the difference of the two groups' mean codes.
            how: how words are chosen; greedy by default.
            rate: nats per code of a variable-rate run; the run's default rate if None.
            condition: {label: value} of a conditional run.
            constraint: as for `decode`.

        Raises:
            UserError: as `encode` and `decode`; or an empty group.
        """
        vae = self.with_defaults(rate, condition)
        return vae.shifted(texts, strength * vae.direction(towards, away), how, constraint)

    def direction(self, towards: Sequence[str], away: Sequence[str]) -> Tensor:
        """(D,): mean code of `towards` - mean code of `away`.

        The attribute vectors of Larsen et al. 2016, applied to sentences.

        Raises:
            UserError: as `encode`; or no sentence in one of the groups.
        """
        groups = {"towards": as_examples(towards), "away": as_examples(away)}
        for name, group in groups.items():
            if not len(group):
                raise UserError(f"`{name}` holds no sentence: give some sentences of this group")
        return self.encode(groups["towards"]).mean(0) - self.encode(groups["away"]).mean(0)

    def shifted(
        self,
        texts: Sequence[str],
        step: Tensor,
        how: GenerationConfig | None = None,
        constraint: Rule = None,
    ) -> list[str]:
        """Decode the code of each sentence plus `step` (D,) or (N, D); greedy unless `how` says otherwise.

        Raises:
            UserError: as `encode` and `decode`.
        """
        texts = as_examples(texts)
        z, c = self._encode(texts)
        keys = self._keys(texts, repeats_differ=True)
        moved = self._codes(z + as_step(step, z))
        return self._texts(moved, how or self._greedy(), 0, c, keys, constraint)

    @torch.no_grad()
    def log_prob(self, texts: Sequence[str], z: Tensor) -> Tensor:
        """(N,): ln p(x|z) in nats of each sentence under its own code z (N, D), the end token counted.

        Raises:
            UserError: as `encode`, or codes of another size.
        """
        texts = as_examples(texts)
        z, found, start = self._codes(z).to(self.device), [], 0
        if len(z) != len(texts):
            raise UserError(f"z holds {len(z)} codes for {len(texts)} sentences: give one for each")
        for batch in track(list(self._batches(texts, 0, batch_size=256)), "reading", lambda b: b.size):
            rows = slice(start, start := start + batch.size)
            found.append(self.vae.likelihood(z[None, rows]).log_prob(batch)[0])
        return torch.cat([torch.zeros(0), *(part.float().cpu() for part in found)])

    @torch.no_grad()
    def fill(self, patterns: Sequence[Pattern], z: Tensor, beam: int = 5) -> list[list[list[int]]]:
        """For each pattern of word ids at most `beam` sentences without its blanks, the likeliest first.

        Beam search over p(x|z) under the pattern's own code, of z (N, D), with the other words fixed.

        Raises:
            UserError: codes of another size.
        """
        decoder, found = self.vae.decoder, []
        assert isinstance(decoder, TextDecoder)
        z = self._codes(z).to(self.device)
        for rows in track(torch.split(torch.arange(len(z)), max(1, FILLED // beam)), "filling", len):
            likelihood: Any = self.vae.likelihood(z[None, rows])
            some = [patterns[row] for row in rows.tolist()]
            found += fill_blanks(decoder, likelihood.start(), some, beam)[0]
        return found

    def attribute(self, batches: Sequence[Batch], name: str) -> Tensor:
        """A label per sentence (N,), or its `length` in tokens including `</s>`.

        Raises:
            UserError: no label of that name.
        """
        if name == "length" and name not in self.label_names:
            return torch.cat([batch.target_counts for batch in batches]).float()
        return super().attribute(batches, name)

    def evaluation_inputs(
        self, data: str | Sequence[str] | None, batch_size: int, examples: int | None
    ) -> tuple[str, Sequence[Batch], ModalityMetrics]:
        """The name of the evaluation data, its batches, and the metrics of the modality."""
        where, store = self.evaluation_store(data)
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

    def _shown_examples(
        self, data: str | Sequence[str] | None, n: int
    ) -> tuple[list[tuple[str, str]], list[str]]:
        """The first n sentences with reconstructions, and n samples; empty if decoding needs labels."""
        if self.vae.labels is not None and not self.vae.labels.fixed:
            return [], []
        store, samples = self.evaluation_store(data)[1], self.sample(n)
        rows = range(min(n, len(store)))
        texts = self.tokenizer.decode_batch([store.tokens(i).tolist() for i in rows])
        if not self.latent_dim:
            return [], samples
        if self.reads_vectors and store.source is not None:
            back = self.decode(self.encode(list(store.source.rows(np.array(rows)).values)))
            return list(zip(texts, back, strict=True)), samples
        return [(found.text, found.reconstruction) for found in self.reconstruct(texts)], samples

    def read_store(self, data: str | Sequence[str], id_column: str | None = None) -> TokenStore:
        """The sentences of other data than the run's: see `PretrainedVAE.read_store`.

        Raises:
            UserError: as there.
        """
        given = (data, self.tokenizer, self.config.data, self.categories, self.source)
        own = data if isinstance(data, str) and data.endswith(".parquet") else None
        store = load_examples(*given, own if self.reads_vectors else None)
        self.check_labels(store, [*store.notes, *store.lost_labels])
        return store

    def store_examples(self, store: TokenStore, count: int) -> list[str]:
        """The first `count` sentences of a store."""
        return list(self.tokenizer.decode_batch(store.tokens(i).tolist() for i in range(count)))

    def read_inputs(
        self, source: str | Sequence[str], count: int | None, id_column: str | None, note: Note
    ) -> Inputs:
        """The first `count` rows of a source: see `PretrainedVAE.read_inputs`.

        Raises:
            UserError: as there.
        """
        return read_sentences(self, source, count, id_column, note)

    def _reconstruct_greedily(self, z: Tensor, batch: TextBatch) -> list[list[int]]:
        return self._generate(z, self.greedy_untruncated(), c=self.vae.condition(batch))

    def _sample_greedily(self, batches: Sequence[Batch], n: int, seed: int) -> list[list[int]]:
        """Greedy decodings of `n` prior samples; a conditional model gets labels of random examples."""
        c = resample_conditions(self.vae, batches, n)
        return self._generate(sample_prior(self.vae, n, seed, c=c), self.greedy_untruncated(), c=c)

    def _detokenize(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def _greedy(self) -> GenerationConfig:
        return GenerationConfig(greedy=True)

    def greedy_untruncated(self) -> GenerationConfig:
        """Greedy decoding without restrictions, for measures."""
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
        if not isinstance(how, GenerationConfig):
            raise UserError(f"how got a {type(how).__name__}: give a GenerationConfig(temperature=0.8, ...)")
        how = replace(how, repeats=self.tokenizer.repeats) if how.repeats is None else how
        return how if how.max_length else replace(how, max_length=self.config.data.max_tokens)

    def _texts(
        self,
        z: Tensor,
        how: GenerationConfig,
        seed: int,
        c: Tensor | None,
        keys: Signed,
        constraint: Rule,
    ) -> list[str]:
        """A sentence per code (N, D) under conditions c (N, C); `NO_TEXT` where none is valid."""
        how = self._resolve(how)
        rule = None if constraint is None else Constraint.of(constraint)
        how = how if rule is None else rule.restrict(how, self.tokenizer)
        drawn = replace(how, greedy=False, beam=None)

        def write(rows: Sequence[int], number: int) -> list[str]:
            at = torch.tensor(rows, dtype=torch.long)
            given = None if c is None else c[at]
            way = how if number == 0 else drawn
            return self.tokenizer.decode_batch(
                self._generate(z[at], way, seed, given, keys[at.numpy()], number)
            )

        if rule is None:
            return write(range(len(z)), 0)
        return [NO_TEXT if text is None else text for text in rule.collect(len(z), write)]

    @torch.no_grad()
    def _generate(
        self,
        z: Tensor,
        how: GenerationConfig,
        seed: int = 0,
        c: Tensor | None = None,
        keys: Signed | None = None,
        number: int = 0,
    ) -> list[list[int]]:
        """Generate token ids from codes (N, D), conditioned on c (N, C) or on the model's defaults.

        `keys` (N,) key the noise of the words; by default the position of the code; each
        `number` of a draw has noise of its own.
        """
        decoder, written = self.vae.decoder, []
        assert isinstance(decoder, TextDecoder)
        index = torch.arange(len(z)) if keys is None else torch.from_numpy(keys)
        most = max(1, min(WRITTEN, WRITTEN_TOKENS // how.longest))
        parts = torch.split(torch.arange(len(z)), GPU_WRITTEN if is_asynchronous(self.device) else most)
        for rows in track(parts, "writing", len):
            part, random = z[rows].to(self.device), KeyedNoise(seed, 0, index[rows].to(self.device))
            random = random.fold(number) if number else random
            likelihood: Any = self.vae.likelihood(part[None], None if c is None else c[rows].to(self.device))
            written += generate_tokens(decoder, likelihood.start(), len(part), how, random)
        return written

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids = self.tokenizer.encode_batch([_clean(place, text) for place, text in enumerate(texts)])
        for place, (text, found) in enumerate(zip(texts, ids, strict=True)):
            if not found:
                raise UserError(
                    f"text {place}, {text!r}, holds no token: give a sentence with at least one word"
                )
        most = self.config.data.max_tokens
        if cut := sum(len(row) > most for row in ids):
            say_cut(self.run.path, f"{cut:,} of {len(ids):,} sentences", most)
        return [row[:most] for row in ids]

    def with_max_tokens(self, tokens: int) -> TextVAE:
        """The same model, which reads `tokens` tokens per sentence instead of training's `max_tokens`.

        Raises:
            UserError: fewer than one.
        """
        tokens = as_count("max_tokens", tokens, 1)
        data = self.config.data.model_copy(update={"max_tokens": tokens})
        config = self.config.model_copy(update={"data": data})
        return TextVAE(replace(self.run, config=config), self.device)

    def _read(self, text: str) -> str:
        """The text as in training: cleaned, and truncated where `max_tokens` ends."""
        text, most = clean_text(text), self.config.data.max_tokens
        if len(self.tokenizer.encode(text)) <= most:
            return text
        return text[: self.tokenizer.characters(text, most)]

    def _vectors(self, given: Any) -> Array:
        """Check the user's vectors (N, W).

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

    def _keys(self, texts: Sequence[Any], repeats_differ: bool) -> Signed:
        """(N,) noise key of each sentence, a hash of its tokens, or of each vector.

        With `repeats_differ` the key also depends on how often the same input came before.
        """
        vectors = self._vectors(texts) if self.reads_vectors else None
        keys = keys_of(self._ids(texts)) if vectors is None else hash_codes(torch.from_numpy(vectors))
        return distinguish_repeats(keys) if repeats_differ else keys

    def batches(self, texts: Sequence[Any], batch_size: int = 64) -> Iterator[TextBatch]:
        """Sentences, or vectors if the encoder reads these, as batches on the model's device.

        Raises:
            UserError: as `encode`.
        """
        return self._batches(as_examples(texts), 0, batch_size=batch_size)

    def _batches(
        self, texts: Sequence[Any], seed: int, repeats_differ: bool = False, batch_size: int = 64
    ) -> Iterator[TextBatch]:
        """Sentences, or vectors (N, W) if the encoder reads these: then the batch has no tokens."""
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
    """The text, cleaned as in training.

    Raises:
        UserError: not a string.
    """
    if not isinstance(text, str):
        raise UserError(f"text {place} is {str(text)[:40]!r}, a {type(text).__name__}: give strings")
    return clean_text(text)
