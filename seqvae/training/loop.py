"""The training loop. Remedies act through the objective's hooks; none is named here."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch

from seqvae.build import check_config, describe_missing_labels, modality_of, with_label_statistics
from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.data.preparation import Preparation
from seqvae.distributed import collectives
from seqvae.distributed.collectives import is_main
from seqvae.errors import UserError
from seqvae.evaluation.rate_sweep import describe_choice
from seqvae.interfaces import Data
from seqvae.models.pretrained.backbone import parameter_counts
from seqvae.models.pretrained.golden import with_bases
from seqvae.runs.metrics_log import RunLog, forget_metrics_after
from seqvae.runs.run_data import check_split
from seqvae.runs.run_folder import (
    create_run,
    ignored_changes,
    read_card,
    require_empty,
    update_card,
)
from seqvae.training.process import deterministic_cudnn, limit_threads, out_of_memory_advice
from seqvae.training.trainer import Trainer
from seqvae.training.validation import Validation, split_fingerprints
from seqvae.utils.data_paths import with_absolute_paths
from seqvae.utils.device import pick_device
from seqvae.utils.malloc import memory_errors, retain_freed_memory
from seqvae.utils.reporter import Reporter, Silent, format_numbers
from seqvae.utils.signals import GRACE, Interrupted, Stop, stop_on_signals


def train(config: RunConfig, out: str | Path, report: Reporter | None = None) -> Path:
    """Train a config into a new run folder, which is returned.

    Raises:
        UserError: an error that the user can fix; the last good checkpoint is kept.
        Interrupted: a signal arrived; the message says how to resume.
    """
    check_config(config)
    path, config = Path(out), with_absolute_paths(config)
    with _distributed_run(config):
        require_empty(path)
        data = collectives.main_first(
            lambda: modality_of(config).load_data(config, None, _preparation(report))
        )
        return _run(path, config, data, report or Silent(), new=True)


def resume(path: str | Path, report: Reporter | None = None, device: str | None = None) -> Path:
    """Resume an unfinished run exactly where it stopped; on `device` instead of the run's own if given.

    Raises:
        UserError: no run there, a damaged checkpoint, or a run that is finished.
    """
    path = Path(path)
    card = read_card(path)
    if card["progress"]["finished"]:
        raise UserError(f"{path} is finished after {card['progress']['step']} steps: train a new run")
    where = str(path / "config.json")
    for line in ignored_changes(path, parse_config(card["run"], where=where)):
        (report or Silent()).warn(line)
    elsewhere = [] if device is None else [f"train.device={device}"]
    config = with_bases(parse_config(card["run"], elsewhere, where=where), card, path)
    modality = modality_of(config)
    with _distributed_run(config):
        codec = modality.load_codec(path, card.get("sizes", {}))
        data = collectives.main_first(lambda: modality.load_data(config, codec, _preparation(report)))
        if card.get("data", data.fingerprint) != data.fingerprint:
            raise UserError(
                f"the data of {path} have changed since it began: put them back, or train a new run"
            )
        for name in data.splits:
            check_split(path, card, data, name)
        return _run(path, config, data, report or Silent(), new=False)


def _run(path: Path, config: RunConfig, data: Data, report: Reporter, new: bool) -> Path:
    report = report if is_main() else Silent()
    for line in data.report():
        report.note(line)
    config = with_label_statistics(config, data)
    for line in [*describe_missing_labels(config, data), *(data.check() if new else ())]:
        report.warn(line)
    short_of_memory = memory_errors(partial(out_of_memory_advice, path, config))
    with limit_threads(config.train.threads), deterministic_cudnn(), retain_freed_memory(), short_of_memory:
        trainer = Trainer(path, config, data, report)
        loop = TrainingLoop(trainer)
        if new:  # only now: a config that cannot be built leaves no folder behind
            collectives.run_on_main(
                lambda: create_run(path, config, data.codec, data.fingerprint, split_fingerprints(data))
            )
        collectives.run_on_main(lambda: forget_metrics_after(path, trainer.progress.step))
        loop.run()
    return path


def _preparation(report: Reporter | None) -> Preparation:
    """Progress of the preparation of the data, reported by the main process alone."""
    return Preparation(report if report is not None and is_main() else Silent())


def _distributed_run(config: RunConfig) -> AbstractContextManager[None]:
    """The process group of this run."""
    return collectives.distributed_session(pick_device(config.train.device), Interrupted)


class TrainingLoop:
    """The training loop: update, log, validate, select and save, until the last step."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.report = trainer, trainer.report
        self.path, self.settings = trainer.path, trainer.config.train
        self.log_file = RunLog(self.path, self.settings.tensorboard)
        self.validation = Validation(trainer, self.log_file)

    def run(self) -> None:
        """Train to the end, or until a signal or an early stop.

        Raises:
            UserError: the loss is not finite, or the disk is full.
            Interrupted: a signal arrived; everything is saved.
        """
        self._announce()
        self.trainer.meter.began = time.monotonic()
        grace = GRACE if collectives.world_size() > 1 else 0.0
        try:
            with stop_on_signals(grace) as stop, self.log_file.open():
                while self.trainer.progress.step < self.trainer.total and not self._is_out_of_patience():
                    self.trainer.update()
                    self._after_step(stop)
                self.finish()
        finally:
            self.report.close()

    def _after_step(self, stop: Stop) -> None:
        """Log, validate and save if due after this update, and stop if a signal arrived."""
        trainer, settings = self.trainer, self.settings
        every = settings.validate_every or trainer.batch_source.steps_per_epoch
        step = trainer.progress.step
        last = step == trainer.total
        if step % settings.log_every == 0 or last:
            self.log()
        if step % every == 0 or last:
            self.validate()
        number = collectives.all_reduce_max(stop.number)  # a signal to one process stops all
        if step % (settings.save_every or every) == 0 or last or number:
            trainer.save()
        if number and not last:
            raise Interrupted(
                f"stopped at step {step} of {trainer.total}, everything is saved: "
                f"go on with `seqvae train --resume {self.path}`",
                number,
            )

    def log(self) -> None:
        """Write the means since the last logged line, and show them."""
        trainer, step = self.trainer, self.trainer.progress.step
        began = time.monotonic()
        values = trainer.meter.means(trainer.names, trainer.unit)  # waits for the GPU's queued updates
        trainer.progress.seconds += time.monotonic() - began
        trainer.stop_unless_finite(torch.tensor(list(values.values())), step - 1)
        values["lr"] = float(trainer.optimizers["model"].param_groups[0]["lr"])
        self.log_file.write("train", step, values)
        shown = {k: values[k] for k in (f"{trainer.unit}_per_s", "rate", "distortion", "beta")}
        units = trainer.progress.last_validation.get("active_units")
        shown |= {} if units is None else {"active_units": units}
        self.report.advance(step, trainer.total, format_numbers(shown))

    def validate(self) -> None:
        """Validate at beta = 1 without remedies, and select the checkpoint."""
        self.validation.run()

    def finish(self) -> None:
        """Mark the run as finished and report its result."""
        progress = self.trainer.progress
        chosen = collectives.run_on_main(self.validation.choose_rate)
        progress.finished = True
        card = collectives.run_on_main(lambda: read_card(self.path))
        collectives.run_on_main(lambda: self.validation.write_card(card["selected"]))
        if chosen:
            collectives.run_on_main(lambda: update_card(self.path, rate=chosen))
            self.report.note(describe_choice(chosen))
        self.report.close()
        self.report.note(
            f"finished {progress.step} steps{self._stop_note()} in {progress.seconds / 60:.1f} minutes of "
            f"training ({progress.tokens / max(1e-9, progress.seconds):,.0f} {self.trainer.unit}/s); "
            f"selected {card['selected']}"
        )

    def _is_out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.trainer.progress.worse >= patience

    def _stop_note(self) -> str:
        """Why a run ended before its last step; empty if it did not."""
        progress, total = self.trainer.progress, self.trainer.total
        if progress.step == total:
            return ""
        return f" of {total}, as {progress.worse} validations in a row were no better (train.patience),"

    def _announce(self) -> None:
        trainer = self.trainer
        count, trained = parameter_counts(trainer.vae)
        part = f" ({trained / 1e6:.1f} M of them trained)" if trained < count else ""
        self.report.note(
            f"{count / 1e6:.1f} M parameters{part}, {trainer.total} steps of {self.settings.batch_size} "
            f"examples ({trainer.total / trainer.batch_source.steps_per_epoch:.1f} epochs) "
            f"on {trainer.device} in {trainer.precision}"
        )
