"""What a run trains - model, objective, optimizers, and where they stand - and one update of it."""

from __future__ import annotations

import copy
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqvae import distributed
from seqvae.batch import Loss
from seqvae.build import build_objective, build_vae, known_shares, wing_of
from seqvae.checkpoint import Progress, load_checkpoint, load_parts, save_checkpoint
from seqvae.config import RunConfig
from seqvae.device import pick_device, pick_precision
from seqvae.disk import checkpoints
from seqvae.interfaces import Data, Facts
from seqvae.model import PARTS
from seqvae.objective import ENCODER_SIDE, TrainStep
from seqvae.optim import learning_rate, make_optimizer, set_learning_rate
from seqvae.progress import Reporter
from seqvae.registry import UserError
from seqvae.runlog import Meter
from seqvae.sharding import own_share, shard, whole
from seqvae.updates import add_gradients, back_propagated, clipped, mixed_seed

DEFAULT_EPOCHS, DEFAULT_STEPS = 10, (3000, 6000)  # where a config gives neither


def total_steps(config: RunConfig, steps_per_epoch: int) -> int:
    """Updates of a run; without `steps` and `epochs`, ten epochs within 3,000 to 6,000 updates."""
    if config.train.steps:
        return config.train.steps
    if config.train.epochs:
        return config.train.epochs * steps_per_epoch
    low, high = DEFAULT_STEPS
    return min(high, max(low, DEFAULT_EPOCHS * steps_per_epoch))


class Trainer:
    """One run between two updates: `update` makes the next one, `save` and `restore` keep where it stands.

    Raises:
        UserError: a config that cannot be built, or `init` names no run of its kind.
    """

    def __init__(self, path: Path, config: RunConfig, data: Data, report: Reporter) -> None:
        self.path, self.config, self.data, self.report = path, config, data, report
        settings = config.train
        self.device = pick_device(settings.device)
        self.unit = data.codec.unit
        self.precision = pick_precision(settings.precision, self.device)
        self.feed = wing_of(config).make_feed(data, settings.batch_size, settings.accumulate, settings.seed)
        self.total = total_steps(config, self.feed.steps_per_epoch)
        self.progress = Progress()
        torch.manual_seed(settings.seed)
        self.vae = build_vae(config, data.codec.sizes)
        if config.init and not checkpoints(path):
            load_parts(self.vae, data.codec, config.init.run, list(config.init.parts))
        facts = Facts(
            self.total,
            self.feed.examples,
            settings.batch_size,
            self.vae.latent.dim,
            data.codec.sizes.get("vocab_size"),
            data.labels,
            known_shares(data),
        )
        self.objective = build_objective(config, self.vae, facts)
        self.step_module = TrainStep(self.vae, self.objective)
        states = self._restored()
        self.twin = self._placed()
        self.rivals = self.objective.adversaries()
        apart = [p for rival in self.rivals for p in rival.parameters()]
        self.optimizers = {"model": make_optimizer(settings, self.step_module, without=apart)}
        if apart:
            self.optimizers["adversary"] = make_optimizer(settings, nn.ModuleList(self.rivals))
        for name, state in states.items():
            self.optimizers[name].load_state_dict(own_share(state, self.optimizers[name]))
        if settings.compile:
            self._compile()
        self.meter, self.names = Meter(), ["total"]
        self.meter.load(self.progress.unlogged, self.device)

    def _compile(self) -> None:
        """Compile what says that it gains by it; names of weights do not change."""
        if wanted := _no_compiler(self.device):
            self.report.warn(f"train.compile is left out: no C++ compiler {wanted!r} here, install one")
            return
        for module in self.vae.modules():
            if getattr(module, "compiles", False):
                module.compile()

    def _restored(self) -> dict[str, Any]:
        """Take up the newest checkpoint, where there is one; the optimizers' states, by their names."""
        states: dict[str, Any] = {}
        if found := checkpoints(self.path):
            states, self.progress = load_checkpoint(found[-1], self.vae, self.objective)
            self.report.note(f"going on from {found[-1]}")
        distributed.copy_from_main(self.step_module)  # all processes begin alike
        return states

    def _placed(self) -> TrainStep | None:
        """Put the model on its device, or its shares on all; of shares comes what `whole` is to fill."""
        if not self.config.train.shard:
            self.step_module.to(self.device)
            return None
        if distributed.world() == 1:
            self.report.note("train.shard is left out: one process has no other to share with")
            self.step_module.to(self.device)
            return None
        twin = copy.deepcopy(self.step_module) if distributed.is_main() else None
        shard(self.step_module, self.device)
        return twin

    @contextmanager
    def whole(self) -> Iterator[TrainStep]:
        """Model and objective to look at and to save, on the first process; every process must come along.

        Of a model that is cut it is a copy that is on the device no longer than this; elsewhere it is void.
        """
        state = whole(self.step_module.state_dict())
        if self.twin is None:
            yield self.step_module
            return
        self.twin.load_state_dict(state)
        try:
            yield self.twin.to(self.device)
        finally:
            self.twin.to("cpu")

    def save(self) -> None:
        """Write a checkpoint of this step.

        Raises:
            UserError: what was learned since the last logged line is no number; the disk is full.
        """
        if self.meter.total is not None:
            self.stop_unless_finite(self.meter.total, self.progress.step - 1)
        self.progress.unlogged = self.meter.state()
        states = whole({name: optimizer.state_dict() for name, optimizer in self.optimizers.items()})
        progress, keep = self.progress, self.config.train.keep
        with self.whole() as found:
            distributed.on_main(
                lambda: save_checkpoint(self.path, found.vae, found.objective, states, progress, keep)
            )

    def update(self) -> None:
        """One update, after those that a remedy gives to the encoder alone."""
        step, settings = self.progress.step, self.config.train
        began = time.monotonic()
        lr = learning_rate(settings, step, self.total, self.progress.lr_factor)
        for optimizer in self.optimizers.values():
            set_learning_rate(optimizer, lr)
        self.step_module.train()
        self._encoder_updates(step)
        loss, units, _ = self._gradients(step)
        self._freeze(self.objective.trained_parts())
        values = self._moved(step, loss)
        self.objective.after_step(loss)
        self.meter.add(values, units)
        self.progress.step += 1
        self.progress.tokens += units
        self.progress.seconds += time.monotonic() - began

    def _encoder_updates(self, step: int) -> None:
        """Updates of the encoder alone; no schedule, controller or mean of the log counts them.

        No checkpoint comes between them and their update, so that their number is all they have to remember.
        """
        losses: list[Tensor] = []
        while self.objective.encoder_first(losses):
            loss, units, size = self._gradients(step, inner=len(losses) + 1)
            self._freeze(self.objective.trained_parts(ENCODER_SIDE))
            for parameter in self.objective.parameters():  # heads of remedies, second players
                parameter.grad = None
            self._moved(step, loss)
            losses.append(loss.total * size / units)
            self.progress.inner += 1
            self.progress.tokens += units
            self.meter.units += units

    def _moved(self, step: int, loss: Loss) -> Tensor:
        """Let the optimizers move what has gradients; the numbers for the log."""
        add_gradients(self.step_module)
        norm, *_ = clipped(self.optimizers.values(), self.config.train.clip)  # the model's
        values = torch.cat([self._values(loss), norm[None]])
        if self.device.type != "cuda" or (step + 1) % self.config.train.log_every == 0:
            # before they reach the weights; on CUDA looking means waiting, `log` and `save` look at the sums
            self.stop_unless_finite(values, step)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        return values

    def _gradients(self, step: int, inner: int = 0) -> tuple[Loss, int, int]:
        """Back-propagate the parts of one update; its loss, detached, its units and examples."""
        torch.manual_seed(mixed_seed(self.config.train.seed, step, inner))  # module dropout
        parts = self.feed.update(step, inner)
        return back_propagated(self.step_module, parts, step, self.precision, self.device)

    def _values(self, loss: Loss) -> Tensor:
        beta = torch.as_tensor(loss.beta, dtype=torch.float32, device=self.device)
        named = {"total": loss.total, "rate": loss.rate, "distortion": loss.distortion, "beta": beta}
        named |= loss.terms
        self.names = [*named, "grad_norm"]
        return torch.stack([v.float() for v in named.values()])

    def _freeze(self, parts: frozenset[str]) -> None:
        """Gradients of a frozen part are None before clipping, or the optimizer would move it."""
        for name in set(PARTS) - parts:
            for parameter in getattr(self.vae, name).parameters():
                parameter.grad = None

    def stop_unless_finite(self, values: Tensor, step: int) -> None:
        """Refuse to go on with numbers of update `step` that are none any more.

        Raises:
            UserError: a value is not finite; the message names the last good checkpoint.
        """
        if bool(torch.isfinite(values).all()):
            return
        found = checkpoints(self.path)
        safe = f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was written yet"
        raise UserError(
            f"the loss is not a number at step {step}: {safe}; lower train.lr or train.clip "
            "in a new run, or use train.precision=fp32"
        )


def _no_compiler(device: torch.device) -> str | None:
    """The C++ compiler that torch.compile wants and does not find on a CPU."""
    wanted = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return wanted if device.type == "cpu" and shutil.which(wanted) is None else None
