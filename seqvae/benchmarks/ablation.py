"""Ablation of optimisations: training speed with all of them, and with one replaced by a plain version.

Shapes: N rows, T tokens, H features, V words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from seqvae.benchmarks.clock import time_rounds
from seqvae.benchmarks.live import live
from seqvae.benchmarks.presets import preset_trainer
from seqvae.data.splits import Rows
from seqvae.data.text.feed import TextBatchSource
from seqvae.models.text.kernels.gru import gru_layer_plainly
from seqvae.models.text.kernels.output_layer import OutputHead, log_prob_plainly
from seqvae.models.text.kernels.precision import compute_dtype
from seqvae.training.trainer import Trainer

UPDATES = 8  # updates per timing, so that batches have several lengths
NONE, MEMORY = "none of these", "freed memory kept"


class PlainGRU(nn.Module):
    """`nn.GRU` with the same weights, instead of our GRU."""

    def __init__(self, rnn: nn.GRU) -> None:
        super().__init__()
        self.rnn, self.bidirectional = rnn, rnn.bidirectional
        self.num_layers, self.hidden_size = rnn.num_layers, rnn.hidden_size

    def forward(self, x: Tensor, state: Tensor | None) -> Any:
        """States (N, T, H) and the last one (1, N, H)."""
        return self.rnn(x, state)


class LoopGRU(PlainGRU):
    """One layer as a loop over steps with autograd's gradients; gates in fp32, as in ours."""

    def forward(self, x: Tensor, state: Tensor | None) -> Any:
        """States (N, T, H) and the last one (1, N, H)."""
        w_x, w_h, b_x, b_h = self.rnn.all_weights[0]
        h = x.new_zeros(len(x), self.hidden_size) if state is None else state[0]
        states = gru_layer_plainly(x.transpose(0, 1), h, (w_x, w_h, b_x, b_h), x.dtype).transpose(0, 1)
        return states, states[None, :, -1]


class PlainHead(nn.Module):
    """The output layer with the same weights, with all logits (N T, V) at once and autograd's gradients."""

    def __init__(self, head: OutputHead) -> None:
        super().__init__()
        self.head = head

    def log_prob(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log p(target | features) in nats, (..., ) for features (..., H)."""
        rows, bias = features.flatten(0, -2), self.head.bias + self.head.forbidden
        with torch.autocast(features.device.type, enabled=False):
            dtype = compute_dtype(features.device)
            found = self.of_rows(rows, self.head.weight, bias, targets.flatten(), dtype)
        return found.view(targets.shape)

    def of_rows(
        self, rows: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """Log p (N,) of words (N,) from rows (N, H)."""
        return log_prob_plainly(rows, weight, bias, targets, dtype)


class FusedHead(PlainHead):
    """The same by `linear_cross_entropy` of torch 2.13, which processes rows in chunks."""

    def of_rows(
        self, rows: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """Log p (N,) of words (N,) from rows (N, H)."""
        torch_functional: Any = functional
        options = vars(nn)["LinearCrossEntropyOptions"]()
        found: Tensor = torch_functional.linear_cross_entropy(
            rows.to(dtype),
            weight.to(dtype),
            targets,
            linear_bias=bias.to(dtype),
            reduction="none",
            options=options,
        )
        return -found.float()


class Unsorted(TextBatchSource):
    """Sentences in random order instead of batches of similar length."""

    def _epoch_order(self, epoch: int) -> Sequence[Rows]:  # type: ignore[override]
        order = np.random.default_rng([self.seed, epoch]).permutation(self.examples)
        return np.array_split(order, np.arange(self.batch_size, self.examples, self.batch_size))


def _plain_precision(trainer: Trainer) -> None:
    trainer.precision = trainer.step.precision = "fp32"


def _plain_order(trainer: Trainer) -> None:
    feed = trainer.batch_source
    if isinstance(feed, TextBatchSource):
        trainer.batch_source = Unsorted(feed.data, feed.batch_size, feed.accumulate, feed.seed)


def _recurrence(kind: type[PlainGRU], trainer: Trainer) -> None:
    for part in (trainer.vae.encoder, trainer.vae.decoder):
        if isinstance(rnn := getattr(part, "rnn", None), nn.GRU):
            part.add_module("rnn", kind(rnn))


def _output(kind: type[PlainHead], trainer: Trainer) -> None:
    head = trainer.vae.decoder.get_submodule("head")
    if isinstance(head, OutputHead):
        trainer.vae.decoder.add_module("head", kind(head))


def _plain_optimizer(trainer: Trainer) -> None:
    for optimizer in trainer.optimizers.values():
        _unfuse(optimizer)


def _unfuse(optimizer: Optimizer) -> None:
    """Use the unfused implementation: a loop over parameters and operations, a plain learning rate."""
    for group in optimizer.param_groups:
        group["fused"] = group["foreach"] = False
        group["lr"] = float(group["lr"])


@dataclass(frozen=True)
class Optimisation:
    """An optimisation of speed or memory, and how to replace it by the plain version."""

    name: str
    instead: str
    undo: Callable[[Trainer], None]


OPTIMISATIONS = (
    Optimisation("bf16 products", "fp32", _plain_precision),
    Optimisation("batches of like lengths", "a random order", _plain_order),
    Optimisation("own GRU", "nn.GRU", partial(_recurrence, PlainGRU)),
    Optimisation("own output layer", "linear and cross_entropy", partial(_output, PlainHead)),
    Optimisation("fused optimizer", "a loop over tensors", _plain_optimizer),
)
OTHER_WAYS = (  # alternatives, not part of "none of these"
    Optimisation("own GRU", "a loop over steps", partial(_recurrence, LoopGRU)),
    *(
        [Optimisation("own output layer", "linear_cross_entropy", partial(_output, FusedHead))]
        if hasattr(functional, "linear_cross_entropy")
        else []
    ),
)


def run_first_updates(trainer: Trainer) -> int:
    """Train on the first batches of the epoch; returns their number of tokens without padding."""
    before, trainer.progress.step = trainer.progress.tokens, 0
    for _ in range(min(UPDATES, trainer.batch_source.steps_per_epoch)):
        trainer.update()
    return trainer.progress.tokens - before


def run_ablation(
    preset: str = "reference", overrides: Iterable[str] = (), budget: float = 3.0
) -> list[dict[str, Any]]:
    """Rows with keys `without` (an optimisation), `instead`, `tokens_per_s`, `share` and `update_mb`.

    All are timed in turn, about `budget` seconds each. Speeds are the best ones measured; `share` is relative
    to the speed with all optimisations in the same round, the median over rounds. `update_mb` is the peak
    memory of an update's tensors besides weights and optimizer state. An optimisation that does not apply to
    the preset, such as the GRU's to a Transformer, does not change the speed.

    Raises:
        UserError: no such preset, or a config that cannot be built.
    """
    overrides = list(overrides)
    ways = [(), *((trick,) for trick in (*OPTIMISATIONS, *OTHER_WAYS)), OPTIMISATIONS]
    with ExitStack() as stack:
        trainers = [stack.enter_context(preset_trainer(preset, overrides)) for _ in ways]
        for trainer, undone in zip(trainers, ways, strict=True):
            for trick in undone:
                trick.undo(trainer)
        works = [partial(run_first_updates, trainer) for trainer in trainers]
        tokens = [work() for work in works]
        held = [live(work).peak / 1e6 for work in works]
        device = trainers[0].device
        named = {str(place): work for place, work in enumerate(works)}
        times = [*time_rounds(named, device, budget * len(works)).values()]
    # here freed memory is returned to the system: no trainer retains it any more
    alone = min(time_rounds({"": works[0]}, device, budget)[""])
    shares = [
        count / tokens[0] * median(a / b for a, b in zip(times[0], took, strict=True))
        for count, took in zip(tokens, times, strict=True)
    ]
    best = [min(took) for took in times]
    rows = zip(map(_names, ways), tokens, best, shares, held, strict=True)
    given_back = ((MEMORY, "given back at once"), tokens[0], alone, best[0] / alone, held[0])
    return [_row(*row) for row in (*rows, given_back)]


def _row(names: tuple[str, str], tokens: int, seconds: float, share: float, mb: float) -> dict[str, Any]:
    speed = round(tokens / seconds)
    return {
        "without": names[0],
        "instead": names[1],
        "tokens_per_s": speed,
        "share": round(share, 3),
        "update_mb": round(mb, 3),
    }


def _names(undone: Sequence[Optimisation]) -> tuple[str, str]:
    if not undone:
        return "", ""
    return (undone[0].name, undone[0].instead) if len(undone) == 1 else (NONE, "all of these ways")
