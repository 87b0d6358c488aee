"""One pass over the evaluation set that stores one value per example of everything averaged later.

Shapes: K importance samples, B examples of a batch, N evaluation examples, D latent dims.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from seqvae.distributed.collectives import map_sharded
from seqvae.evaluation.metrics.cautions import heavy_weights, unit_errors
from seqvae.evaluation.metrics.information import Information, choose_rows, mutual_information
from seqvae.evaluation.metrics.latent_usage import (
    active_units,
    kl_per_dim,
    mean_variance,
    sort_variances,
    standard_error,
)
from seqvae.evaluation.metrics.likelihood import (
    ImportanceScores,
    effective_samples,
    grouped_nll,
    iw_nll,
    score_batch,
)
from seqvae.interfaces import Batch, Posterior, point_estimate
from seqvae.models.diagonal_normals import to_float64
from seqvae.models.vae import VAE
from seqvae.utils.progress import tracked

ProgressCallback = Callable[[int, int, str], None]  # examples done, examples in all, what is being measured
THRESHOLDS = {"active_units": 0.01, "active_units_05": 0.05, "active_units_20": 0.2}


@dataclass(frozen=True)
class PerExample:
    """Columns of values per example (N, ...), in the order of the batches, on the CPU.

    `index` (N,) the key of the noise, `z` (N, D) the first sample, `mean` (N, D), `code` (N, D) the point
    estimate, `distortion` (N,) and, if q(z|x) has a density, `kl` (N, D) or (N, 1), `iw_nll`, `iw_nll_half`
    and `iw_nll_one` (N,) at K, K/2 and 1, and `ess` (N,). Nats.
    """

    posteriors: list[Posterior]
    columns: dict[str, Tensor]
    samples: int  # K
    dim: int  # D
    seconds: float

    def __getitem__(self, name: str) -> Tensor:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def get(self, name: str) -> Tensor | None:
        """A column, or None."""
        return self.columns.get(name)

    @property
    def n(self) -> int:
        """N, the number of examples."""
        return len(self["index"])

    def mean(self, name: str) -> float:
        """Mean of a column over the examples."""
        return float(self[name].mean())


@dataclass(frozen=True)
class EvaluationPass:
    """Applies a function to a model's evaluation batches; with `together`, sharded over ranks.

    With `together` it is a collective: call it on every rank; every rank gets all results.
    """

    vae: VAE
    batches: Sequence[Batch]
    progress: ProgressCallback | None = None
    together: bool = False

    def over(self, what: str, work: Callable[[Batch, slice], Any]) -> list[Any]:
        """Apply `work` to each batch on the model's device and the slice of its rows among the N examples."""
        ends = list(accumulate(batch.size for batch in self.batches))
        device = device_of(self.vae)

        def apply(item: tuple[Batch, int]) -> Any:
            batch, end = item
            found = work(batch.to(device), slice(end - batch.size, end))
            if self.progress is not None:
                self.progress(end, ends[-1], what)
            return found

        items = list(zip(self.batches, ends, strict=True))
        counted: Callable[[tuple[Batch, int]], Any] = apply
        if self.progress is None and ends:
            counted = tracked(apply, ends[-1], what, lambda item: item[0].size)
        return map_sharded(items, counted, device) if self.together else [counted(item) for item in items]


def run_evaluation_pass(
    evaluation: EvaluationPass, samples: int, chunk: Callable[[Batch], int]
) -> PerExample:
    """Score K = `samples` codes per example (1 if q(z|x) has no density), `chunk(batch)` at a time."""
    began, vae = time.perf_counter(), evaluation.vae
    dim = vae.latent.dim
    samples = samples if dim > 0 and vae.latent.has_density else 1
    found = evaluation.over("likelihood", lambda batch, _: _rows(vae, batch, samples, chunk(batch)))
    posteriors, rows = zip(*found, strict=True)
    columns = {name: torch.cat([row[name] for row in rows]).cpu() for name in rows[0]}
    return PerExample(list(posteriors), columns, samples, dim, time.perf_counter() - began)


def _rows(vae: VAE, batch: Batch, samples: int, chunk: int) -> tuple[Posterior, dict[str, Tensor]]:
    """The columns of a batch, left on its device so that the host need not wait before the next batch."""
    scores = _score(vae, batch, samples, chunk)
    columns = {
        "index": batch.random.index,
        "z": scores.z,
        "mean": scores.q.mean,
        "code": point_estimate(scores.q),
    }
    columns["distortion"] = -detached_float64(scores.log_px_z).mean(0)
    if scores.log_weights is None:
        return scores.q, columns
    weights = detached_float64(scores.log_weights)  # (K, B)
    columns |= {
        "kl": detached_float64(scores.kl),
        "iw_nll": iw_nll(weights),
        "ess": effective_samples(weights),
    }
    columns["iw_nll_half"] = grouped_nll(weights, min(2, samples))
    columns["iw_nll_one"] = -weights.mean(0)
    return scores.q, columns


def _score(vae: VAE, batch: Batch, samples: int, chunk: int) -> ImportanceScores:
    """`score_batch` with the chunk halved until it fits into GPU memory; results do not depend on it."""
    while True:
        try:
            return score_batch(vae, batch, samples, chunk)
        except torch.OutOfMemoryError:
            if chunk == 1:
                raise
        chunk = max(1, min(chunk, samples) // 2)


def likelihood_metrics(gathered: PerExample) -> dict[str, Any]:
    """Rate, distortion, -ELBO and IW-NLL in nats per example, with standard errors over examples."""
    numbers: dict[str, Any] = {"n": gathered.n, "distortion": gathered.mean("distortion")}
    if "iw_nll" not in gathered:
        return numbers
    rate, samples = gathered["kl"].sum(-1), gathered.samples
    neg_elbo, iw = rate + gathered["distortion"], gathered["iw_nll"]
    numbers |= {"rate": float(rate.mean()), "rate_se": standard_error(rate)}
    numbers |= {"neg_elbo": float(neg_elbo.mean()), "neg_elbo_se": standard_error(neg_elbo)}
    numbers |= {"iw_nll": float(iw.mean()), "iw_nll_se": standard_error(iw)}
    by_samples = {1: "iw_nll_one", -(-samples // 2): "iw_nll_half", samples: "iw_nll"}
    numbers["iw_nll_at"] = {str(k): gathered.mean(name) for k, name in by_samples.items()}
    numbers |= {"iw_gap_se": standard_error(iw - neg_elbo), "iw_samples": samples}
    return numbers | {"ess": gathered.mean("ess"), "heavy_weights": heavy_weights(gathered["ess"], samples)}


def code_metrics(gathered: PerExample, mi_examples: int, seed: int = 0) -> dict[str, Any]:
    """Active units, KL per dim, and MI over at most `mi_examples` examples (0: no MI)."""
    means = gathered["mean"].double()
    variance = mean_variance(means)  # (D,)
    numbers: dict[str, Any] = {"spectrum": sort_variances(variance).tolist()}
    numbers |= {name: active_units(variance, threshold) for name, threshold in THRESHOLDS.items()}
    numbers |= unit_errors(means, variance, THRESHOLDS["active_units"])
    if "kl" not in gathered:
        return numbers
    if gathered.dim == 0:
        nothing = dict.fromkeys(("mi", "mi_low", "mi_high", "mi_se"), 0.0)
        return numbers | {"kl_per_dim": [], **nothing, "mi_n": gathered.n}
    numbers["kl_per_dim"] = kl_per_dim(gathered["kl"]).tolist()
    if mi_examples == 0:
        return numbers
    found = information_metrics(gathered, mi_examples, seed)
    numbers |= {"mi": found.low, "mi_low": found.low, "mi_high": found.high}
    return numbers | {"mi_se": found.low_se, "mi_high_se": found.high_se, "mi_n": found.n}


def information_metrics(gathered: PerExample, limit: int, seed: int = 0) -> Information:
    """MI over all examples, or over a subset of `limit` keyed by example and seed."""
    if gathered.n <= limit:
        return mutual_information(gathered.posteriors, gathered["z"][None])
    rows = choose_rows(gathered["index"], limit, seed)
    sizes = torch.tensor([q.mean.shape[0] for q in gathered.posteriors])
    places = [rows[(rows >= a) & (rows < b)] - a for a, b in pairwise([0, *sizes.cumsum(0).tolist()])]
    pairs = [(q, i.to(q.mean.device)) for q, i in zip(gathered.posteriors, places, strict=True) if len(i)]
    return mutual_information([q.select(i) for q, i in pairs], gathered["z"][rows][None])


@contextlib.contextmanager
def evaluation_mode(vae: nn.Module) -> Iterator[None]:
    """Context in evaluation mode without gradients; restores each module's own mode, also of frozen ones."""
    modes = {module: module.training for module in vae.modules()}
    vae.eval()
    try:
        with torch.no_grad():  # not inference_mode: training may use a cache filled here
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def detached_float64(x: Tensor) -> Tensor:
    """X detached and in fp64, the precision of sums over the data set, on its own device."""
    return to_float64(x.detach())


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's parameters; the CPU if it has none."""
    return next(chain(module.parameters(), module.buffers()), torch.empty(0)).device
