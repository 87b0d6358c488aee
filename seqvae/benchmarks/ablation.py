"""What each trick brings: the first updates of an epoch with all of them, then without one at a time.

Shapes: N rows, T tokens, H features, V words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqvae.benchmarks.clock import time_in_turns
from seqvae.benchmarks.presets import preset_trainer
from seqvae.data.sampler import Rows
from seqvae.data.text.feed import TextBatchSource
from seqvae.models.text.kernels.output_layer import OutputHead
from seqvae.models.text.kernels.precision import compute_dtype
from seqvae.training.trainer import Trainer

UPDATES = 8  # of them one timing consists: batches of several lengths
ALL, NONE, MEMORY = "all tricks", "none of these", "freed memory kept"


class PlainGRU(nn.Module):
    """`nn.GRU` with the same weights, where ours would run."""

    def __init__(self, rnn: nn.GRU) -> None:
        super().__init__()
        self.rnn, self.bidirectional = rnn, rnn.bidirectional
        self.num_layers, self.hidden_size = rnn.num_layers, rnn.hidden_size

    def forward(self, x: Tensor, state: Tensor | None) -> Any:
        """States (N, T, H) and the last one (1, N, H)."""
        return self.rnn(x, state)


class PlainHead(nn.Module):
    """The output layer with the same weights, with all logits (N T, V) at once and autograd's gradients."""

    def __init__(self, head: OutputHead) -> None:
        super().__init__()
        self.head = head

    def log_prob(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log p(target | features) in nats, (..., ) for features (..., H)."""
        head, dtype = self.head, compute_dtype(features.device)
        with torch.autocast(features.device.type, enabled=False):
            bias = (head.bias + head.forbidden).to(dtype)
            logits = nn.functional.linear(features.flatten(0, -2).to(dtype), head.weight.to(dtype), bias)
            scores = -nn.functional.cross_entropy(logits.float(), targets.flatten(), reduction="none")
        return scores.view(targets.shape)


class Unsorted(TextBatchSource):
    """Sentences in a random order: a batch is as long as the longest of any."""

    def _epoch_order(self, epoch: int) -> Sequence[Rows]:  # type: ignore[override]
        order = np.random.default_rng([self.seed, epoch]).permutation(self.examples)
        return np.array_split(order, np.arange(self.batch_size, self.examples, self.batch_size))


def _plain_precision(trainer: Trainer) -> None:
    trainer.precision = "fp32"


def _plain_order(trainer: Trainer) -> None:
    feed = trainer.batch_source
    if isinstance(feed, TextBatchSource):
        trainer.batch_source = Unsorted(feed.data, feed.batch_size, feed.accumulate, feed.seed)


def _plain_recurrence(trainer: Trainer) -> None:
    for part in (trainer.vae.encoder, trainer.vae.decoder):
        if isinstance(rnn := getattr(part, "rnn", None), nn.GRU):
            part.add_module("rnn", PlainGRU(rnn))


def _plain_output(trainer: Trainer) -> None:
    head = trainer.vae.decoder.get_submodule("head")
    if isinstance(head, OutputHead):
        trainer.vae.decoder.add_module("head", PlainHead(head))


def _plain_optimizer(trainer: Trainer) -> None:
    trainer.optimizers = {name: _unfused(optimizer) for name, optimizer in trainer.optimizers.items()}


def _unfused(optimizer: Optimizer) -> Optimizer:
    """The same rule, a parameter and an operation at a time."""
    for group in optimizer.param_groups:
        group["fused"] = group["foreach"] = False
    return optimizer


OPTIMISATIONS: dict[str, Callable[[Trainer], None]] = {
    "bf16 products": _plain_precision,
    "batches of like lengths": _plain_order,
    "own GRU": _plain_recurrence,
    "own output layer": _plain_output,
    "fused optimizer": _plain_optimizer,
}


def run_first_updates(trainer: Trainer) -> int:
    """Train on the first batches of the epoch; their tokens, padding left out."""
    before, trainer.progress.step = trainer.progress.tokens, 0
    for _ in range(min(UPDATES, trainer.batch_source.steps_per_epoch)):
        trainer.update()
    return trainer.progress.tokens - before


def run_ablation(
    preset: str = "reference", overrides: Iterable[str] = (), budget: float = 3.0
) -> list[dict[str, Any]]:
    """Rows of `without`, `tokens_per_s` and `share` of the speed with all tricks; all timed in turn.

    `budget` is about the seconds for each. A trick of no use to the preset, as the GRU's to a Transformer,
    leaves the speed as it is.

    Raises:
        UserError: no such preset, or a config that cannot be built.
    """
    overrides = list(overrides)
    with ExitStack() as stack:
        trainers = {
            name: stack.enter_context(preset_trainer(preset, overrides))
            for name in (ALL, *OPTIMISATIONS, NONE)
        }
        for name, trainer in trainers.items():
            for trick, without in OPTIMISATIONS.items():
                if name in (trick, NONE):
                    without(trainer)
        tokens = {name: run_first_updates(trainer) for name, trainer in trainers.items()}
        works = {name: partial(run_first_updates, trainer) for name, trainer in trainers.items()}
        times = time_in_turns(works, trainers[ALL].device, budget * len(works))
    # only now that no trainer asks for it any more is freed memory given back
    times[MEMORY] = time_in_turns({MEMORY: works[ALL]}, trainers[ALL].device, budget)[MEMORY]
    return _rows({name: tokens[ALL if name == MEMORY else name] / took for name, took in times.items()})


def _rows(speeds: dict[str, float]) -> list[dict[str, Any]]:
    whole = speeds[ALL]
    return [
        {"without": name if name != ALL else "", "tokens_per_s": round(s), "share": round(s / whole, 3)}
        for name, s in speeds.items()
    ]
