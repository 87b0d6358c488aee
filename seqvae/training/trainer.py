"""The trainer: model, objective, optimizers and progress of a run, and one update of them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqvae.build import build_objective, build_vae, label_coverage, modality_of
from seqvae.config.schema import RunConfig
from seqvae.distributed import collectives
from seqvae.distributed.batch_shards import BatchShard, exchange_shards
from seqvae.distributed.fsdp import apply_fsdp, full_state_dict, local_optimizer_state
from seqvae.errors import UserError
from seqvae.interfaces import Batch, Data, RunContext
from seqvae.objectives import TrainStep
from seqvae.runs.checkpoint import TrainState, load_checkpoint, save_checkpoint
from seqvae.runs.metrics_log import Meter
from seqvae.runs.run_folder import load_parts
from seqvae.training.capture import CapturedUpdates, capture_obstacle
from seqvae.training.compiling import compile_blocks
from seqvae.training.optim import make_optimizer, portable_state, put_rate_on_device
from seqvae.training.step import Update, count_targets, step_seed
from seqvae.utils.atomic_files import list_checkpoints
from seqvae.utils.device import pick_device, pick_precision
from seqvae.utils.reporter import Reporter

DEFAULT_EPOCHS, DEFAULT_STEPS = 10, (3000, 6000)  # if a config sets neither


def total_steps(config: RunConfig, steps_per_epoch: int) -> int:
    """Updates of a run; without `steps` and `epochs`, ten epochs within 3,000 to 6,000 updates."""
    if config.train.steps:
        return config.train.steps
    if config.train.epochs:
        return config.train.epochs * steps_per_epoch
    low, high = DEFAULT_STEPS
    return min(high, max(low, DEFAULT_EPOCHS * steps_per_epoch))


class Trainer:
    """The state of a run: `update` makes the next update, `save` writes a checkpoint.

    Raises:
        UserError: a config that cannot be built, or `init` does not name a run that fits it.
    """

    def __init__(self, path: Path, config: RunConfig, data: Data, report: Reporter) -> None:
        self.path, self.config, self.data, self.report = path, config, data, report
        settings = config.train
        self.device = pick_device(settings.device)
        self.unit = data.codec.unit
        self.precision = pick_precision(settings.precision, self.device)
        self.batch_source = modality_of(config).make_batch_source(
            data, settings.batch_size, settings.accumulate, settings.seed
        )
        self.total = total_steps(config, self.batch_source.steps_per_epoch)
        self.progress = TrainState()
        torch.manual_seed(settings.seed)
        self.vae = build_vae(config, data.codec.sizes)
        if config.init and not list_checkpoints(path):
            load_parts(self.vae, data.codec, config.init.run, list(config.init.parts))
        self.objective = build_objective(config, self.vae, self._run_context())
        self.step_module = TrainStep(self.vae, self.objective)
        states = self._restore()
        self.full_copy = self._place_model()
        self.discriminators = self.objective.discriminators()
        self.optimizers = self._make_optimizers(states)
        self.step = Update(
            self.step_module, self.optimizers, settings, self.total, self.precision, self.device
        )
        self.captured = CapturedUpdates(self.step)
        self._noted_obstacle = ""
        self._obstacle()
        if settings.compile:
            compile_blocks(self.vae, self.device, self.report)
        self.meter = Meter()
        self.meter.load(self.progress.unlogged, self.device)

    def _run_context(self) -> RunContext:
        """The sizes of the run, which remedies read."""
        return RunContext(
            self.total,
            self.batch_source.examples,
            self.config.train.batch_size,
            self.vae.latent.dim,
            self.data.codec.sizes.get("vocab_size"),
            self.data.labels,
            label_coverage(self.data),
        )

    def _make_optimizers(self, states: Mapping[str, Any]) -> dict[str, torch.optim.Optimizer]:
        """The optimizers of the model and of discriminators, by name, with their states in a checkpoint."""
        settings = self.config.train
        apart = [p for discriminator in self.discriminators for p in discriminator.parameters()]
        made = {"model": make_optimizer(settings, self.step_module, without=apart)}
        if apart:
            plain = settings.model_copy(update={"groups": {}})  # these name parameters of the model
            made["adversary"] = make_optimizer(plain, nn.ModuleList(self.discriminators))
        for name, state in states.items():
            made[name].load_state_dict(local_optimizer_state(state, made[name]))
        if self.full_copy is None and not settings.shard:  # a fused optimizer of DTensors takes no tensor lr
            for optimizer in made.values():
                put_rate_on_device(optimizer, self.device)
        return made

    @property
    def names(self) -> list[str]:
        """Names of the numbers that updates add to the meter."""
        return self.step.names

    def _obstacle(self) -> str:
        """Why the next update is not captured, empty if it is; on a GPU a change is reported.

        Raises:
            UserError: `train.capture: always` and the update cannot be captured.
        """
        settings = self.config.train
        says = self.objective.capture_obstacle()
        reason = capture_obstacle(settings.capture, self.device, settings.shard, says)
        if self.device.type == "cuda" and reason != self._noted_obstacle:
            self.report.note(f"updates run one by one: {reason}" if reason else "updates run as CUDA graphs")
        self._noted_obstacle = reason
        return reason

    def _restore(self) -> dict[str, Any]:
        """Load the newest checkpoint if there is one; return the optimizers' states by name."""
        states: dict[str, Any] = {}
        if found := list_checkpoints(self.path):
            states, self.progress = load_checkpoint(found[-1], self.vae, self.objective)
            self.report.note(f"resuming from {found[-1]}")
        collectives.broadcast_module(
            self.step_module
        )  # initial weights are drawn per process: start all ranks with those of rank 0
        return states

    def _place_model(self) -> TrainStep | None:
        """Move the model to its device, or shard it; then return the unsharded copy that rank 0 keeps."""
        if not self.config.train.shard:
            self.step_module.to(self.device)
            return None
        if collectives.world_size() == 1:
            self.report.note("train.shard is left out: one process has no other to share with")
            self.step_module.to(self.device)
            return None
        twin = copy.deepcopy(self.step_module) if collectives.is_main() else None
        apply_fsdp(self.step_module, self.device)
        return twin

    @contextmanager
    def full_model(self) -> Iterator[TrainStep]:
        """Yield the unsharded model and objective on rank 0. A collective: call it on every rank.

        For a sharded model it is a copy that is on the device only inside the context; on other ranks the
        model is only partly filled and must not be used.
        """
        state = full_state_dict(self.step_module.state_dict())
        if self.full_copy is None:
            yield self.step_module
            return
        self.full_copy.load_state_dict(state)
        try:
            yield self.full_copy.to(self.device)
        finally:
            self.full_copy.to("cpu")

    def save(self) -> None:
        """Write a checkpoint of this step.

        Raises:
            UserError: a value since the last logged line is not finite, or the disk is full.
        """
        if self.meter.total is not None:
            self.stop_unless_finite(self.meter.total, self.progress.step - 1)
        self.progress.unlogged = self.meter.state()
        states = full_state_dict(
            {name: portable_state(optimizer) for name, optimizer in self.optimizers.items()}
        )
        progress, keep = self.progress, self.config.train.keep
        with self.full_model() as found:
            collectives.run_on_main(
                lambda: save_checkpoint(self.path, found.vae, found.objective, states, progress, keep)
            )

    def update(self) -> None:
        """Make one update, after the encoder-only updates that a remedy asks for."""
        step = self.progress.step
        began = time.monotonic()
        self.step_module.train()
        self.step.set_schedule(step, self.progress.lr_factor)
        captured = not self._obstacle()
        self._encoder_updates(step)
        parts, ours, seed = self._parts(step)
        values = self.captured(parts, ours, seed) if captured else self._run(self.step, parts, ours, seed)
        if self.device.type != "cuda" or (step + 1) % self.config.train.log_every == 0:
            self.stop_unless_finite(values, step)  # on CUDA it is a sync: `log` and `save` check too
        units, _ = count_targets(ours)
        self.meter.add(values, units)
        self.progress.step += 1
        self.progress.tokens += units
        self.progress.seconds += time.monotonic() - began

    def _encoder_updates(self, step: int) -> None:
        """Update only the encoder while a remedy asks for it; schedules, controllers and the log skip these.

        No checkpoint is written between them and the full update, so only their number is saved.
        """
        losses: list[Tensor] = []
        while self.objective.extra_encoder_step(losses):
            parts, ours, seed = self._parts(step, inner=len(losses) + 1)
            total = self._run(self.step.encoder_only, parts, ours, seed)
            if self.device.type != "cuda":
                self.stop_unless_finite(total, step)
            units, size = count_targets(ours)
            losses.append(total * size / units)
            self.progress.inner += 1
            self.progress.tokens += units
            self.meter.units += units

    def _parts(self, step: int, inner: int = 0) -> tuple[list[Batch], list[BatchShard], int]:
        """The parts of one update on the CPU, their shards of the global batch, and the dropout seed."""
        parts = self.batch_source.update(step, inner)
        return parts, exchange_shards(parts), step_seed(self.config.train.seed, step, inner)

    def _run(
        self,
        update: Callable[[Sequence[Batch], Sequence[BatchShard]], Tensor],
        parts: Sequence[Batch],
        ours: Sequence[BatchShard],
        seed: int,
    ) -> Tensor:
        """Run an update without capture."""
        torch.manual_seed(seed)
        moved = [part.to(self.device) for part in parts]
        return update([p.replace(random=replace(p.random, step=self.step.step)) for p in moved], ours)

    def stop_unless_finite(self, values: Tensor, step: int) -> None:
        """Stop if a number of update `step` is NaN or infinite.

        Raises:
            UserError: a value is not finite; the message names the last good checkpoint.
        """
        if bool(torch.isfinite(values).all()):
            return
        found = list_checkpoints(self.path)
        safe = f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was written yet"
        raise UserError(
            f"the loss is not a number at step {step}: {safe}; lower train.lr or train.clip "
            "in a new run, or use train.precision=fp32"
        )
