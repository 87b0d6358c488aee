"""Base class of trained text models: tokens, batches, data and scores of given sentences.

Shapes: N sentences, D latent dims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from seqvae.config.schema import TextRunConfig
from seqvae.data.text.batch import TextBatch
from seqvae.data.text.dataset import load_examples
from seqvae.data.text.similar_spelling import SimilarSpelling
from seqvae.data.text.source import SourceReader
from seqvae.data.text.token_store import TokenStore
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.errors import UserError
from seqvae.evaluation.metrics.text_scores import mark_unknown
from seqvae.evaluation.score import ExampleScore
from seqvae.inference.given import as_count, as_examples
from seqvae.inference.inputs import Inputs, Note
from seqvae.inference.pretrained import PretrainedVAE
from seqvae.inference.text_inputs import read_sentences
from seqvae.inference.text_reader import TextReader
from seqvae.interfaces import Batch
from seqvae.runs.run_folder import Run
from seqvae.utils.progress import track


class TextModel(PretrainedVAE, library_name="seqvae"):
    """A trained text model that reads and scores sentences; `TextVAE` also writes them."""

    modality = "text"

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        super().__init__(run, device)
        assert isinstance(run.config, TextRunConfig)
        self.tokenizer: TextTokenizer = run.codec
        self.config = run.config
        self.reader = TextReader(run, run.config, self.device)

    @cached_property
    def similar_spelling(self) -> SimilarSpelling[int]:
        """The words of the vocabulary by their spelling."""
        special = asdict(self.tokenizer.special).values()
        ids = (i for i in range(self.tokenizer.vocab_size) if i not in special)
        return SimilarSpelling({i: self.tokenizer.token(i) for i in ids})

    @property
    def source(self) -> SourceReader | None:
        """The reader of the encoder's own input, if it does not read the run's tokens."""
        return self.reader.source

    @property
    def reads_vectors(self) -> bool:
        """Whether `encode` takes vectors (N, W) instead of sentences."""
        return self.reader.reads_vectors

    def unknown(self, texts: Sequence[str]) -> list[int]:
        """(N,) number of out-of-vocabulary tokens per sentence, among those that the model reads."""
        return [sum(row) for row in self.reader.unknown(as_examples(texts))]

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence that the model reads, without start and end.

        Raises:
            UserError: not a string, or a sentence without a token.
        """
        return self.reader.token_ids(as_examples(texts))

    def references(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence for comparison with others; an unknown token equals no other token."""
        texts = as_examples(texts)
        return mark_unknown(self.token_ids(texts), self.reader.unknown(texts))

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

    @torch.no_grad()
    def log_prob(self, texts: Sequence[str], z: Tensor) -> Tensor:
        """(N,): ln p(x|z) in nats of each sentence under its own code z (N, D), the end token counted.

        Raises:
            UserError: as `encode`, or codes of another size.
        """
        texts = as_examples(texts)
        batches, found, start = list(self.batches(texts, 256)), [], 0
        z = self._codes(z).to(self.device)
        if len(z) != len(texts):
            raise UserError(f"z holds {len(z)} codes for {len(texts)} sentences: give one for each")
        for batch in track(batches, "reading", lambda b: b.size):
            rows = slice(start, start := start + batch.size)
            found.append(self.vae.likelihood(z[None, rows]).log_prob(batch)[0])
        return torch.cat([torch.zeros(0), *(part.float().cpu() for part in found)])

    def attribute(self, batches: Sequence[Batch], name: str) -> Tensor:
        """A label per sentence (N,), or its `length` in tokens including `</s>`.

        Raises:
            UserError: no label of that name.
        """
        if name == "length" and name not in self.label_names:
            return torch.cat([batch.target_counts for batch in batches]).float()
        return super().attribute(batches, name)

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

    def with_max_tokens(self, tokens: int) -> Self:
        """The same model, which reads `tokens` tokens per sentence instead of training's `max_tokens`.

        Raises:
            UserError: fewer than one.
        """
        return self.with_data(max_tokens=as_count("max_tokens", tokens, 1))

    def batches(self, texts: Sequence[Any], batch_size: int = 64) -> Iterator[TextBatch]:
        """Sentences, or vectors if the encoder reads these, as batches on the model's device.

        Raises:
            UserError: as `encode`.
        """
        return self.reader.batches(as_examples(texts), 0, batch_size=batch_size)

    def _batches(
        self, examples: Sequence[Any], seed: int, repeats_differ: bool = False
    ) -> Iterator[TextBatch]:
        return self.reader.batches(examples, seed, repeats_differ)
