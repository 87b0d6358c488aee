"""What a step and an importance-weighted likelihood hold in memory, against plain implementations.

Shapes: B sentences, T tokens, V words, K samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plain_text
import pytest
import torch
from tiny_text import SPECIAL, tiny_config
from torch import Tensor

from seqvae.batch import TextBatch
from seqvae.bench.live import Live, live
from seqvae.build import build_vae
from seqvae.config import TrainConfig
from seqvae.device import autocast
from seqvae.metrics.likelihood import score
from seqvae.model import VAE
from seqvae.objective import ELBO, TrainStep
from seqvae.optim import make_optimizer
from seqvae.shares import shares
from seqvae.text import output, wide
from seqvae.text.batching import batch_from_ids
from seqvae.updates import back_propagated, clipped

CPU = torch.device("cpu")
FULL = {"words": 32_000, "embed": 300, "hidden": 256, "sentences": 64, "tokens": 40}  # the reference GRU
SMALL = {"words": 3200, "embed": 30, "hidden": 26, "sentences": 16, "tokens": 16}
SMALLER = 100  # times: tables of weights (V, E) and (V, H) and of logits (B T, V) alike


def model(sizes: dict[str, int]) -> tuple[VAE, TextBatch]:
    """The reference GRU with z in its first state, and a batch without padding."""
    torch.manual_seed(0)
    cell: dict[str, Any] = {"name": "gru", "embed": sizes["embed"], "hidden": sizes["hidden"]}
    config = tiny_config(cell, {"name": "gaussian", "dim": 16}, {**cell, "z_to": ["state"]})
    vae = build_vae(config, {"vocab_size": sizes["words"], "special": SPECIAL})
    words = torch.randint(4, sizes["words"], (sizes["sentences"], sizes["tokens"] - 1))
    return vae, batch_from_ids(words.tolist(), SPECIAL)


def updates(sizes: dict[str, int], precision: str, plainly: bool) -> tuple[Callable[[], None], int]:
    """One update, which has run once, and the bytes of weights and optimizer that stay."""
    vae, batch = model(sizes)
    step = TrainStep(vae, ELBO())
    optimizer = make_optimizer(TrainConfig(), step)

    def ours() -> None:
        back_propagated(step, [batch], shares([batch]), 0, precision, CPU)
        clipped([optimizer], 5.0)
        optimizer.step()
        optimizer.zero_grad()

    def loss() -> Tensor:
        with autocast(precision, CPU):
            return plain_text.loss(vae, batch)

    work = plain_text.update(loss, optimizer) if plainly else ours
    work()
    states = [t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor)]
    return work, sum(t.nbytes for t in [*step.parameters(), *states])


def in_all(sizes: dict[str, int], precision: str, plainly: bool) -> tuple[int, Live]:
    """The peak of a whole update, weights and optimizer with it, and what was seen of its work."""
    work, there = updates(sizes, precision, plainly)
    seen = live(work)
    assert seen.now <= 8  # nothing is left behind
    return there + seen.peak, seen


def check(sizes: dict[str, int], precision: str) -> None:
    ours, seen = in_all(sizes, precision, plainly=False)
    theirs, plain = in_all(sizes, precision, plainly=True)
    logits = 4 * sizes["sentences"] * sizes["tokens"] * sizes["words"]
    assert plain.largest == logits  # the measure sees what it should
    assert seen.largest <= max(logits // 4, 4 * sizes["words"] * sizes["embed"])
    assert ours <= 0.4 * theirs, f"{ours / theirs:.3f}"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_holds_two_fifths_of_a_plain_one(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and the room that the output layer takes for them shrink alike."""
    monkeypatch.setattr(output, "KEPT_BYTES", output.KEPT_BYTES // SMALLER)
    monkeypatch.setattr(output, "CHUNK_BYTES", output.CHUNK_BYTES // SMALLER)
    monkeypatch.setattr(output, "FEWEST", 1)
    monkeypatch.setattr(wide, "NEAR", wide.NEAR // SMALLER)
    check(SMALL, precision)


@pytest.mark.long
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_so_it_does_at_full_size(precision: str) -> None:
    check(FULL, precision)


def test_importance_weights_take_no_more_memory_with_k() -> None:
    """A chunk of codes at a time: what grows with K is one number a sample and sentence."""
    vae, batch = model({"words": 200, "embed": 20, "hidden": 40, "sentences": 4, "tokens": 8})
    vae.eval()

    @torch.no_grad()
    def peak(samples: int, chunk: int = 64) -> int:
        return live(lambda: score(vae, batch, samples, chunk)).peak

    assert peak(1024) == pytest.approx(peak(64), rel=0.1)
    assert peak(1024, 1024) < 2 * peak(100, 1024)  # codes are drawn a hundred at a time
    assert peak(64) > 10 * peak(64, 4)  # the measure sees what it should


def test_the_plain_implementations_are_of_the_same_model() -> None:
    vae, batch = model({"words": 60, "embed": 8, "hidden": 10, "sentences": 8, "tokens": 6})
    torch.testing.assert_close(plain_text.loss(vae, batch), TrainStep(vae, ELBO())(batch, 0).total)
    vae.eval()
    with torch.no_grad():
        ours = score(vae, batch, 1, 1).log_weights
    torch.testing.assert_close(ours, plain_text.iw_loop(vae, batch, 1))  # one code: the same one
