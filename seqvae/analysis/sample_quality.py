"""Quality of a text model's prior samples: forward and reverse perplexity, repetition, copies.

Shapes: n samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from seqvae.analysis.sample_perplexity import SmallLM, forward_ppl, reverse_ppl
from seqvae.data.text.repetition import repeating_share
from seqvae.data.text.token_store import TokenStore
from seqvae.errors import UserError
from seqvae.evaluation.metrics.diversity import SELF_BLEU_OF, distinct_ngrams, diversity
from seqvae.inference import TextVAE
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.decoding import UNTRUNCATED, GenerationConfig
from seqvae.runs.run_data import load_run_data
from seqvae.runs.run_folder import TRAINED
from seqvae.utils.reporter import Reporter

Table = dict[str, dict[str, Any]]


def sample_quality(
    vae: TextVAE,
    scorer: TextVAE,
    samples: int = 5000,
    seed: int = 0,
    small: SmallLM | None = None,
    report: Reporter | None = None,
    how: GenerationConfig | None = None,
) -> dict[str, Any]:
    """Measure `samples` sentences generated from the prior, with words sampled at temperature 1.

    `forward_ppl` is the perplexity of the samples under `scorer`, a language model of the corpus: it is low
    for fluent samples, but also for one likely sentence repeated. `reverse_ppl` is the perplexity of the
    model's own test split under a small language model trained on the samples alone: it is low if they are as
    fluent and varied as the data (Zhao et al. 2018, Adversarially Regularized Autoencoders; Cífka et al.
    2018, Eval all, trust a few, do wrong to none). Both are per token of the same tokenizer. A conditional
    model without fixed labels gets those of random training examples.

    Samples are untruncated and come from the trained prior, unless `how` or `with_prior` says otherwise.

    Args:
        vae: the run to measure.
        scorer: a language model (latent: none) with the same tokenizer.
        samples: number of sentences.
        seed: seed of codes, words and labels.
        small: the language model of `reverse_ppl`.
        report: progress of its training.
        how: how words are chosen.

    Returns:
        `forward_ppl`, `reverse_ppl` and the metrics of `seqvae.evaluation.metrics.diversity`.

    Raises:
        UserError: a scorer with a code or with another tokenizer, or fewer than two samples.
    """
    _check(vae, scorer, samples)
    data = load_run_data(vae.run, "train")
    drawn = draw_samples(vae, samples, seed, how)
    known = _texts(vae, data.train)
    return {
        "forward_ppl": forward_ppl(scorer, drawn),
        "reverse_ppl": reverse_ppl(vae, drawn, seed, small, report),
        **diversity(drawn, known),
    }


def draw_samples(
    vae: TextVAE,
    n: int,
    seed: int,
    how: GenerationConfig | None = None,
    store: TokenStore | None = None,
) -> list[str]:
    """`n` sentences as `sample_quality` draws them, with labels of `store`, by default the training split."""
    own = vae if vae.run.prior else vae.with_prior(TRAINED)
    how = how or replace(UNTRUNCATED, max_length=vae.config.data.max_tokens)
    store = load_run_data(vae.run, "train").train if store is None else store
    labels = sample_labels(vae, store, n, seed)
    return own.sample(n, how, seed, condition=labels)


def measure_samples(
    vae: TextVAE, scorer: TextVAE | None, n: int | None, seed: int = 0, as_sampled: bool = False
) -> Table:
    """`sample_quality` beside `real_quality` where there is a scorer, else `repetition`.

    `n` samples, by default 5,000 and 1,000. With `as_sampled` they are drawn as `TextVAE.sample` does.

    Raises:
        UserError: as `sample_quality`.
    """
    how = GenerationConfig(max_length=vae.config.data.max_tokens) if as_sampled else None
    own = vae.with_default_prior() if as_sampled else vae
    if scorer is None:
        return repetition(own, 1000 if n is None else n, seed, how)
    n = 5000 if n is None else n
    return {
        "samples": sample_quality(own, scorer, n, seed, how=how),
        "real": real_quality(vae, scorer, n, seed),
    }


def repetition(
    vae: TextVAE, samples: int = 1000, seed: int = 0, how: GenerationConfig | None = None
) -> Table:
    """Whether prior samples repeat themselves as much as validation sentences do.

    Samples are drawn as for `sample_quality`.

    `distinct_2`: different pairs of tokens / all tokens. `repeated_4gram`: share of the sentences in which
    four tokens in a row occur three times or more. Both in the run's tokens, so that texts without spaces are
    measured too, and both of as many sentences.

    Returns:
        {"samples": ..., "real": ...} with these keys and `sentences`, their number.
    """
    data = load_run_data(vae.run, "valid")
    real = _texts(vae, data.valid, samples, seed)
    drawn = draw_samples(vae, len(real), seed, how)
    return {"samples": _repetition(vae, drawn), "real": _repetition(vae, real)}


def _repetition(vae: TextVAE, texts: Sequence[str]) -> dict[str, Any]:
    rows = vae.tokenizer.encode_batch(texts)
    return {
        "sentences": len(rows),
        "distinct_2": distinct_ngrams(rows, 2),
        "repeated_4gram": repeating_share(rows),
    }


def sample_labels(vae: TextVAE, store: TokenStore, n: int, seed: int) -> dict[str, list[Any]] | None:
    """Labels {label: n values} of random examples of a split, drawn with replacement.

    None for a model that is unconditional or has fixed labels. Examples with a missing label are skipped.
    """
    labels = vae.vae.labels
    if labels is None or labels.fixed:
        return None
    held = torch.tensor(store.labels)
    held = held[~held[:, [label.column for label in labels.specs]].isnan().any(1)]
    chances = KeyedNoise(seed, 0, torch.arange(n)).uniform("labels of samples")
    return labels.decode_columns(held[(chances * len(held)).long()])


def real_quality(
    vae: TextVAE,
    scorer: TextVAE,
    samples: int = 5000,
    seed: int = 0,
    small: SmallLM | None = None,
    report: Reporter | None = None,
) -> dict[str, Any]:
    """The same metrics on real sentences, as a reference for `sample_quality`.

    `reverse_ppl` uses `samples` training sentences. All other metrics use `samples` validation sentences (or
    all there are), because the scorer was trained on the training split.

    Raises:
        UserError: as `sample_quality`.
    """
    _check(vae, scorer, samples)
    data = load_run_data(vae.run, "train", "valid")
    held, known = _texts(vae, data.valid, samples, seed), _texts(vae, data.train)
    chosen = _texts(vae, data.train, samples, seed)
    return {
        "forward_ppl": forward_ppl(scorer, held),
        "reverse_ppl": reverse_ppl(vae, chosen, seed, small, report),
        **diversity(held, known, min(SELF_BLEU_OF, samples)),
    }


def _check(vae: TextVAE, scorer: TextVAE, samples: int) -> None:
    if samples < 2:
        raise UserError(f"samples got {samples}: sentences are compared with one another, draw at least 2")
    check_scorer(vae, scorer)


def check_scorer(vae: TextVAE, scorer: TextVAE) -> None:
    """Refuse a scorer whose numbers say nothing about the sentences of `vae`.

    Raises:
        UserError: it has a code, or another tokenizer.
    """
    if scorer.latent_dim:
        raise UserError(
            f"the scorer {scorer.run.path} has a code: give a language model (a run with `latent: none`)"
        )
    if scorer.tokenizer.fingerprint != vae.tokenizer.fingerprint:
        raise UserError(
            f"the scorer {scorer.run.path} tokenizes text differently from {vae.run.path}: train one on "
            "the same data and tokenizer, perplexities of others do not compare"
        )


def _texts(vae: TextVAE, store: TokenStore, count: int | None = None, seed: int = 0) -> list[str]:
    """Detokenized sentences of a split: all, or `count` random ones."""
    rows = torch.arange(len(store))
    if count is not None:
        rows = KeyedNoise(seed, 0, rows).uniform("real sentences").argsort(stable=True)[:count]
    return vae.tokenizer.decode_batch(store.tokens(i).tolist() for i in rows.tolist())
