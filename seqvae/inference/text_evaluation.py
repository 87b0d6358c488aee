"""What a text model is evaluated with: batches of the data, metrics of text, and examples for its card."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from seqvae.data.text.batch import TextBatch
from seqvae.data.text.feed import measured_feed
from seqvae.evaluation.metrics.text import TextGeneration, TextMetrics
from seqvae.inference.remarks import say_lengths
from seqvae.interfaces import Batch
from seqvae.models.sampling import resample_conditions, sample_prior

if TYPE_CHECKING:
    from seqvae.inference.text_vae import TextVAE


def text_evaluation(
    vae: TextVAE, data: str | Sequence[str] | None, batch_size: int, examples: int | None
) -> tuple[str, Sequence[Batch], TextMetrics]:
    """The name of the evaluation data, its batches, and the metrics of text: see `PretrainedVAE`.

    Raises:
        UserError: as `PretrainedVAE.evaluation_store`.
    """
    where, store = vae.evaluation_store(data)
    say_lengths(vae.run.path, where, store.counts, vae.config.data.max_tokens)
    batches = measured_feed(store, vae.tokenizer, batch_size, examples)
    unk = vae.tokenizer.special.unk
    tools = TextGeneration(
        partial(_reconstruct_greedily, vae),
        partial(_sample_greedily, vae, batches),
        lambda ids: vae.tokenizer.decode(ids),
        characters=int(store.chars[:examples].sum()),
        spelling=float(np.sum(store.spelling[:examples], dtype=np.float64)),
        literal=int(np.searchsorted(store.literal, store.offsets[: examples and examples + 1][-1])),
        unknown=lambda batch: store.unknown(batch.index.tolist(), unk),
    )
    return where, batches, TextMetrics(tools)


def _reconstruct_greedily(vae: TextVAE, z: Tensor, batch: TextBatch) -> list[list[int]]:
    return vae.writer.generate(z, vae.greedy_untruncated(), c=vae.vae.condition(batch))


def _sample_greedily(vae: TextVAE, batches: Sequence[Batch], n: int, seed: int) -> list[list[int]]:
    """Greedy decodings of `n` prior samples; a conditional model gets labels of random examples."""
    c = resample_conditions(vae.vae, batches, n)
    return vae.writer.generate(sample_prior(vae.vae, n, seed, c=c), vae.greedy_untruncated(), c=c)


def card_examples(
    vae: TextVAE, data: str | Sequence[str] | None, n: int
) -> tuple[list[tuple[str, str]], list[str]]:
    """The first n sentences with reconstructions, and n samples; empty if decoding needs labels."""
    if vae.vae.labels is not None and not vae.vae.labels.fixed:
        return [], []
    store, samples = vae.evaluation_store(data)[1], vae.sample(n)
    if not vae.latent_dim:
        return [], samples
    rows = range(min(n, len(store)))
    texts = vae.tokenizer.decode_batch([store.tokens(i).tolist() for i in rows])
    if vae.reads_vectors and store.source is not None:
        back = vae.decode(vae.encode(list(store.source.rows(np.array(rows)).values)))
        return list(zip(texts, back, strict=True)), samples
    return [(found.text, found.reconstruction) for found in vae.reconstruct(texts)], samples
