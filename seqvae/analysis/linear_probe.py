"""Linear probes for a label, on the codes of a run and on the raw input.

Shapes: N examples, F raw input features, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqvae.build import modality_of
from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import device_of, evaluation_mode
from seqvae.evaluation.metrics.probe import linear_probe
from seqvae.inference import PretrainedVAE
from seqvae.inference.posthoc_prior_fit import training_batches
from seqvae.interfaces import Batch, Processor, point_estimate
from seqvae.models.vae import VAE
from seqvae.runs.run_data import load_run_data

BATCH = 256  # examples encoded per batch
COMMONEST = 2000  # raw input features, at most


@dataclass(frozen=True)
class ProbeConfig:
    """Sizes of the labelled sets and of the test set, and the number of random draws."""

    labels: Sequence[int] = (100, 500, 1000)  # numbers of labelled examples
    seeds: int = 3  # random draws of the labelled examples
    pool: int = 5000  # training examples that the labelled ones are drawn from
    tested: int = 2000  # test examples, or validation examples if there is no test split
    seed: int = 0  # seed of the pool


def probe(vae: PretrainedVAE, label: str, how: ProbeConfig | None = None) -> list[dict[str, Any]]:
    """Predict a label of the run's data by a linear classifier or regression, from `code` and from `raw`.

    Codes are posterior means. Raw input is the pixels of an image, or the count of each token in a sentence
    (the 2,000 most variable features). The run need not have been trained with the label.

    Args:
        vae: the run.
        label: a label column of its data.
        how: sizes and seeds.

    Returns:
        One row per number of labelled training examples: `labels`, `measure`, the means over draws `code` and
        `raw` with `code_sd` and `raw_sd`, and the `baseline` without input (see `linear_probe`).

    Raises:
        UserError: a model without a code, no such label, or as `linear_probe`.
    """
    how = how or ProbeConfig()
    if vae.latent_dim == 0:
        raise UserError("a language model (latent: none) has no code to probe")
    names = list(dict.fromkeys([*vae.run.config.data.labels, label]))  # condition labels stay first
    labelled, place = vae.with_labels(names), names.index(label)
    codec, modality = labelled.run.codec, modality_of(labelled.run.config)
    feed = modality.make_batch_source(load_run_data(labelled.run, "train"), BATCH, 1, how.seed)
    pool = list(training_batches(feed, how.pool))
    tested = labelled.evaluation_inputs(None, BATCH, how.tested)[1]
    columns = most_variable_inputs(codec, pool)
    seen = [(_codes(labelled.vae, batches), _raw(codec, batches, columns)) for batches in (pool, tested)]
    y, y_test = (torch.cat([batch.labels[:, place] for batch in batches]) for batches in (pool, tested))
    found = [
        linear_probe(x, y, x_test, y_test, how.labels, how.seeds) for x, x_test in zip(*seen, strict=True)
    ]
    return [_row(code, raw) for code, raw in zip(*found, strict=True)]


def most_variable_inputs(codec: Processor, batches: Sequence[Batch]) -> Tensor:
    """Indices (F,) of the raw input features with the highest variance over the examples."""
    total, squares, n = torch.zeros(()), torch.zeros(()), 0
    for raw in map(codec.raw_features, batches):
        total, squares, n = total + raw.sum(0), squares + (raw**2).sum(0), n + len(raw)
    variance = squares / n - (total / n) ** 2
    return variance.argsort(descending=True, stable=True)[:COMMONEST]


def _raw(codec: Processor, batches: Sequence[Batch], columns: Tensor) -> Tensor:
    """Raw input features (N, F)."""
    return torch.cat([codec.raw_features(batch)[:, columns] for batch in batches])


def _codes(vae: VAE, batches: Sequence[Batch]) -> Tensor:
    """Posterior means (N, D)."""
    with evaluation_mode(vae):
        there = (batch.to(device_of(vae)) for batch in batches)
        return torch.cat([point_estimate(vae.posterior(batch)) for batch in there]).cpu()


def _row(code: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    kept = {key: code[key] for key in ("labels", "measure", "seeds", "baseline")}
    read = {"code": code["mean"], "code_sd": code["sd"], "raw": raw["mean"], "raw_sd": raw["sd"]}
    return kept | read
