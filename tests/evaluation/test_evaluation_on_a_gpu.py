"""An evaluation on a GPU: how much the decoder sees at once, and that no batch waits for the one before it.

Run on the CPU; with `_asynchronous` it takes the branches of a GPU.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from host_reads import no_host_reads
from tiny_text import DECODERS, ENCODERS, SENTENCES, rows_of, tiny_vae
from tiny_text import text_batch as batch_of
from torch import Tensor

from seqvae.evaluation import prior_comparison
from seqvae.evaluation.evaluate import EvaluationSettings, evaluate
from seqvae.evaluation.metrics import chunks, evaluation_pass
from seqvae.evaluation.metrics.chunks import (
    CELLS,
    FEW,
    GPU_CELLS,
    cells_at_once,
    few_samples,
    samples_at_once,
)
from seqvae.evaluation.metrics.evaluation_pass import EvaluationPass
from seqvae.evaluation.metrics.likelihood import score_batch
from seqvae.evaluation.posterior_samples import FixedPosterior, PosteriorPool, merge_sources
from seqvae.interfaces import Batch
from seqvae.models.latents.deterministic import Point
from seqvae.models.latents.exact_normal import ExactNormal
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.models.priors.vamp import VampPrior
from seqvae.models.vae import VAE
from seqvae.utils import accelerator

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MODELS: dict[str, Any] = {
    name: lambda name=name: tiny_vae(ENCODERS[name], decoder=DECODERS[f"{name}-softmax"])
    for name in ("gru", "lstm", "transformer")
}
models = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())


def text_batches(size: int = 3) -> list[Batch]:
    whole = batch_of()
    rows = [list(range(i, min(i + size, len(SENTENCES)))) for i in range(0, len(SENTENCES), size)]
    return [rows_of(whole, some) for some in rows]


@pytest.fixture
def _asynchronous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "ASYNCHRONOUS", ("cpu", "cuda"))


@models
@pytest.mark.usefixtures("_asynchronous")
@torch.no_grad()
def test_no_number_is_read_between_the_batches_of_a_likelihood(make: Any) -> None:
    vae, batches = make(), text_batches()
    with no_host_reads():
        found = EvaluationPass(vae, batches).over(
            "likelihood", lambda batch, _: evaluation_pass._rows(vae, batch, 130, 7)
        )
    assert [row["iw_nll"].shape for _, row in found] == [(3,), (3,), (1,)]
    assert {x.dtype for _, row in found for x in (row["iw_nll"], row["kl"], row["ess"])} == {torch.float64}


@models
@pytest.mark.usefixtures("_asynchronous")
@torch.no_grad()
def test_nor_between_those_of_two_priors(make: Any) -> None:
    vae, batches = make(), text_batches()
    with no_host_reads():
        seen = [
            prior_comparison._score_priors(vae, (vae.prior, vae.prior), batch, 20, 5) for batch in batches
        ]
    assert torch.equal(seen[0][0], seen[0][1])


@models
def test_the_branches_of_a_gpu_give_the_same_numbers(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vae, batches = make(), text_batches()
    plain = evaluate(vae, batches, samples=20)
    monkeypatch.setattr(accelerator, "ASYNCHRONOUS", ("cpu", "cuda"))
    ahead = evaluate(vae, batches, samples=20)
    assert plain.keys() == ahead.keys()
    for key in ("iw_nll", "neg_elbo", "rate", "shuffle_gap", "mi", "ess"):
        assert ahead[key] == pytest.approx(plain[key], rel=1e-5, abs=1e-6), key


def test_a_cpu_sees_what_its_caches_hold() -> None:
    batch = batch_of()
    assert cells_at_once(CPU) == CELLS
    assert samples_at_once(batch, CELLS) == CELLS // (batch.size * batch.decoder_positions)
    assert samples_at_once(batch, 1) == 1
    assert few_samples(CPU)(batch) == FEW


@pytest.mark.parametrize(
    ("free", "cells"), [(0, CELLS), (10 << 30, 5 * 2**14), (139 << 30, GPU_CELLS), (16 << 30, 2**17)]
)
def test_a_gpu_sees_what_half_of_its_free_memory_holds(
    free: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(chunks, "free_memory", lambda device: free)
    assert cells_at_once(CUDA) == cells
    batch = batch_of()
    assert few_samples(CUDA)(batch) == max(FEW, samples_at_once(batch, cells))


class Small:
    """A decoder for which this number of samples is too large."""

    def __init__(self, vae: VAE, most: int) -> None:
        self.decoder, self.most, self.seen = vae.decoder.forward, most, []
        vae.decoder.forward = self  # type: ignore[assignment]

    def __call__(self, z: Tensor, c: Tensor | None = None) -> Any:
        """Out of memory, or p(x|z)."""
        self.seen.append(len(z))
        if len(z) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.decoder(z, c)


def test_a_chunk_that_does_not_fit_is_halved() -> None:
    vae, batches = MODELS["gru"](), text_batches()
    wanted = evaluate(vae, batches, samples=20, settings=EvaluationSettings(cells=1))
    small = Small(vae, most=3)
    found = evaluate(vae, batches, samples=20, settings=EvaluationSettings(cells=10**6))
    assert small.seen[:4] == [20, 10, 5, 2]
    assert found["iw_nll"] == pytest.approx(wanted["iw_nll"], rel=1e-6)
    small.most = 0
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(vae, batches, samples=20)


@torch.no_grad()
def test_a_prior_and_a_condition_are_made_once_for_all_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, calls = MODELS["gru"](), []
    for name in ("condition", "posterior"):
        method = getattr(vae, name)
        monkeypatch.setattr(vae, name, lambda *a, m=method, n=name: (calls.append(n), m(*a))[1])
    vae.prior = VampPrior(vae.latent.dim, encoder=vae.encoder, latent=vae.latent, components=3)
    forward = vae.prior.forward
    monkeypatch.setattr(vae.prior, "forward", lambda *a: (calls.append("prior"), forward(*a))[1])
    score_batch(vae, text_batches()[0], samples=20, chunk=2)
    assert calls.count("prior") == calls.count("posterior") == 1


@pytest.mark.parametrize("kind", ["normal", "exact", "point"])
def test_posteriors_that_are_tables_are_drawn_at_once(kind: str) -> None:
    tables = [torch.randn(600, 3) for _ in range(3)]
    made = {"normal": DiagonalNormal, "exact": ExactNormal, "point": Point}[kind]
    columns = tables[: {"normal": 2, "exact": 3, "point": 1}[kind]]
    c = torch.randn(600, 2)
    each = [
        FixedPosterior(made(*(x[rows] for x in columns)), c[rows]) for rows in torch.arange(600).split(256)
    ]  # type: ignore[operator]
    one = merge_sources(each)
    assert len(one) == 1
    for epoch in (0, 3):
        apart, together = (PosteriorPool(sources, 1, 0.1).sample(epoch) for sources in (each, one))
        assert torch.equal(apart.z, together.z)
        assert torch.equal(apart.c, together.c)  # type: ignore[arg-type]
    assert torch.equal(PosteriorPool(each, 1, 0.1).held.z, PosteriorPool(one, 1, 0.1).held.z)


def test_other_posteriors_stay_apart() -> None:
    vae = tiny_vae(latent={"name": "flow", "dim": 2})
    flows = [FixedPosterior(vae.posterior(batch)) for batch in text_batches()]
    assert merge_sources(flows) == flows
    mixed = [
        FixedPosterior(Point(torch.zeros(2, 2))),
        FixedPosterior(DiagonalNormal(torch.zeros(2, 2), torch.zeros(2, 2))),
    ]
    assert merge_sources(mixed) == mixed
