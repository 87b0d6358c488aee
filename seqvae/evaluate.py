"""A model over a data set becomes one dict of numbers, checked against what must be true.

Shapes: K importance samples, B examples of a batch, N evaluation examples, T tokens, D latent dims.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seqvae.batch import TextBatch
from seqvae.interfaces import Batch
from seqvae.metrics.checks import check
from seqvae.metrics.gather import (
    Gathered,
    Progress,
    code_numbers,
    device_of,
    evaluating,
    exact,
    gather,
    likelihood_numbers,
)
from seqvae.metrics.information import partners
from seqvae.metrics.likelihood import bits_per_character, perplexity
from seqvae.metrics.rate import standard_error
from seqvae.model import VAE
from seqvae.registry import UserError
from seqvae.text import measures
from seqvae.text.measures import TextTools

# fmt: off
KEYS = (
    "n", "tokens",
    "neg_elbo", "rate", "distortion",
    "iw_nll", "iw_nll_se", "iw_samples", "ess",
    "ppl", "bits_per_char",
    "mi", "mi_low", "mi_high",
    "active_units", "active_units_05", "active_units_20", "kl_per_dim",
    "token_accuracy", "exact_match", "bleu",
    "shuffle_gap", "distinct_samples",
)
# fmt: on


@dataclass(frozen=True)
class Settings:
    """Sizes that the report states or that change no number."""

    seed: int = 0  # of the MI subset, the shuffle and the prior draws
    mi_examples: int = 10_000  # MI over a subset where there are more
    prior_draws: int = 1000
    positions: int = 20  # of the gain by position
    cells: int = 2**15  # samples x sentences x tokens that the decoder sees at once


def evaluate(
    vae: VAE,
    batches: Iterable[Batch],
    *,
    samples: int = 20,
    text: TextTools | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a model: a JSON-able dict with `KEYS` and a few more; None where one does not apply.

    Nats a sentence, means over the N examples. No remedies, beta = 1, evaluation mode, the precision of
    the caller's autocast. Rate and distortion are means over the same K = `samples` codes an example as
    IW-NLL. All noise is keyed by example, so batch size and order change nothing but rounding.

    Raises:
        UserError: no example, or no sample.
        MeasurementError: the numbers break an inequality that holds for every model.
    """
    settings, progress, began = settings or Settings(), progress or _silent, time.perf_counter()
    batches = _examples(batches, samples)
    with evaluating(vae):
        gathered = gather(vae, batches, samples, lambda batch: _chunk(batch, settings.cells), progress)
        report = {**dict.fromkeys(KEYS), **likelihood_numbers(gathered), **_per_unit(gathered, batches, text)}
        report |= code_numbers(gathered, settings.mi_examples, settings.seed)
        if gathered.dim > 0:
            report |= _shuffled(vae, batches, gathered, settings, progress)
        if gathered.dim > 0 and text is not None:
            report |= _sentences(vae, batches, gathered, text, progress)
            report |= _draws(text, settings)
    report |= {"precision": _precision(vae), "seconds": time.perf_counter() - began}
    check(report)
    return {name: _jsonable(value) for name, value in report.items()}


def validate(vae: VAE, batches: Iterable[Batch], *, mi: bool = False) -> dict[str, Any]:
    """The light walk of the training loop: one code an example, no remedies, beta = 1.

    `n`, `distortion`, `active_units` and, where q(z|x) has a density, `neg_elbo`, `rate`, `kl_per_dim` (a
    list), and `mi_low` if asked for; what does not apply is left out.

    Raises:
        UserError: no example.
    """
    with evaluating(vae):
        gathered = gather(vae, _examples(batches, 1), 1, lambda batch: 1, _silent)
        numbers = likelihood_numbers(gathered) | code_numbers(gathered, Settings.mi_examples if mi else 0)
    names = ("n", "neg_elbo", "rate", "distortion", "active_units", "kl_per_dim", "mi_low")
    return {name: numbers[name] for name in names if name in numbers}


def _examples(batches: Iterable[Batch], samples: int) -> Sequence[Batch]:
    if samples < 1:
        raise UserError(f"samples must be at least 1, got {samples}: papers use 500, a quick look 20")
    batches = list(batches)
    if sum(batch.size for batch in batches) == 0:
        raise UserError("nothing to evaluate: the data set holds no example; give one that does")
    return batches


def _chunk(batch: Batch, cells: int) -> int:
    """Samples an example that the decoder may see at once."""
    width = batch.targets.shape[1] if isinstance(batch, TextBatch) else 1
    return int(max(1, cells // (batch.size * width)))


def _per_unit(gathered: Gathered, batches: Sequence[Batch], text: TextTools | None) -> dict[str, Any]:
    """Predicted tokens, and IW-NLL per token and per character."""
    if not all(isinstance(batch, TextBatch) for batch in batches):
        return {}
    tokens = sum(int(batch.lengths.sum()) for batch in batches)
    numbers: dict[str, Any] = {"tokens": tokens, "tokens_per_s": tokens * gathered.samples / gathered.seconds}
    if "iw_nll" not in gathered:
        return numbers
    total = float(gathered["iw_nll"].sum())
    if text is not None:
        numbers["bits_per_char"] = bits_per_character(total, text.characters, gathered.n)
    return numbers | {"ppl": perplexity(total, tokens)}


def _shuffled(
    vae: VAE, batches: Sequence[Batch], gathered: Gathered, settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Nats an example lost when each is scored with the code of another one, whole and by position."""
    if gathered.n < 2:
        return {}
    other = gathered["z"][partners(gathered["index"], settings.seed)]
    lost, places, start = [], [], 0
    for batch in batches:
        rows = slice(start, start := start + batch.size)
        gains = _gains(vae, batch.to(device_of(vae)), gathered["z"][rows], other[rows])
        lost.append(gains.sum(-1))
        if isinstance(batch, TextBatch):
            places.append(measures.by_position(gains, batch.mask.cpu(), settings.positions))
        progress(start, gathered.n, "shuffle")
    gap = torch.cat(lost)
    numbers: dict[str, Any] = {"shuffle_gap": float(gap.mean()), "shuffle_gap_se": standard_error(gap)}
    return numbers | ({"gain_by_position": measures.position_means(places)} if places else {})


def _gains(vae: VAE, batch: Batch, z: Tensor, other: Tensor) -> Tensor:
    """Log p(x|z) - log p(x|z of another): (B, T), or (B, 1) where tokens cannot be told apart."""

    def scored(codes: Tensor) -> Tensor:
        likelihood = vae.likelihood(codes[None].to(batch.index.device), batch.condition)
        if isinstance(batch, TextBatch):
            return exact(likelihood.token_log_probs(batch)[0])  # type: ignore[attr-defined]
        return exact(likelihood.log_prob(batch)[0])[:, None]

    return scored(z) - scored(other)


def _sentences(
    vae: VAE, batches: Sequence[Batch], gathered: Gathered, text: TextTools, progress: Progress
) -> dict[str, Any]:
    """How well greedy decoding brings sentences back, from posterior means and from one sample each."""
    at_mean: list[list[int]] = []
    at_sample: list[list[int]] = []
    wanted: list[list[int]] = []
    device = device_of(vae)
    for batch in batches:
        rows = slice(len(wanted), len(wanted) + batch.size)
        moved = batch.to(device)
        at_mean += text.reconstruct(gathered["code"][rows].to(device), moved)
        at_sample += text.reconstruct(gathered["z"][rows].to(device), moved)
        wanted += measures.sentences(batch)
        progress(len(wanted), gathered.n, "reconstruction")
    sampled = measures.fidelity(at_sample, wanted, text.detokenize)
    return {**measures.fidelity(at_mean, wanted, text.detokenize), "reconstruction_at_samples": sampled}


def _draws(text: TextTools, settings: Settings) -> dict[str, Any]:
    draws = text.prior_sample(settings.prior_draws, settings.seed)
    return {"distinct_samples": measures.distinct_sentences(draws), "distinct_of": len(draws)}


def _precision(vae: nn.Module) -> str:
    kind = device_of(vae).type
    if not torch.is_autocast_enabled(kind):
        return "fp32"
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(torch.get_autocast_dtype(kind), "mixed")


def _jsonable(value: Any) -> Any:
    """None for what JSON cannot hold: the error of a single example, a perplexity beyond all floats."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _silent(done: int, total: int, what: str) -> None:
    """No progress is shown."""
