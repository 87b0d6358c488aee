"""The training loop; it contains no remedy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from seqvae import distributed
from seqvae.build import check_names, knowing, lost_labels, wing_of
from seqvae.checkpoint import (
    add_to_card,
    create_run,
    ignored_changes,
    load_run,
    read_card,
    refuse_taken,
    write_card,
)
from seqvae.config import RunConfig, TextRunConfig, parse_config
from seqvae.data_paths import with_absolute_paths
from seqvae.device import autocast, pick_device
from seqvae.disk import checkpoints
from seqvae.distributed import is_main
from seqvae.evaluate import Settings, validate
from seqvae.generate import with_rate
from seqvae.interfaces import Data
from seqvae.memory import freed_memory_kept, memory_errors
from seqvae.model import VAE
from seqvae.progress import Reporter, Silent, numbers
from seqvae.rates import EXAMPLES, best_rate, has_dial, in_words
from seqvae.registry import UserError
from seqvae.run_data import check_split
from seqvae.runlog import RunLog, forget_metrics_after
from seqvae.selection import MI_EXAMPLES, collapse_news, is_collapsed, judge
from seqvae.signals import GRACE, Interrupted, Stop, stop_on_signals
from seqvae.trainer import Trainer
from seqvae.weights import save_weights


def train(config: RunConfig, out: str | Path, report: Reporter | None = None) -> Path:
    """Train a config into a new run folder, which is returned.

    Raises:
        UserError: what the user can mend; the last good checkpoint stays.
        Interrupted: a signal came; the message says how to go on.
    """
    check_names(config)
    path, config = Path(out), with_absolute_paths(config)
    with _together(config):
        refuse_taken(path)
        data = distributed.agreed(lambda: wing_of(config).load_data(config, None))
        return _run(path, config, data, report or Silent(), new=True)


def resume(path: str | Path, report: Reporter | None = None, device: str | None = None) -> Path:
    """Go on with an unfinished run, as if it had never stopped; on `device` where the run's is not here.

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
    config = parse_config(card["run"], elsewhere, where=where)
    wing = wing_of(config)
    with _together(config):
        codec = wing.load_codec(path, card.get("sizes", {}))
        data = distributed.agreed(lambda: wing.load_data(config, codec))
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
    config = knowing(config, data)
    for line in lost_labels(config, data):
        report.warn(line)
    short_of_memory = memory_errors(partial(_need_less, path, config))
    with _threads(config.train.threads), _repeatable(), freed_memory_kept(), short_of_memory:
        trainer = Trainer(path, config, data, report)
        loop = Loop(trainer)
        if new:  # only now: a config that cannot be built leaves no folder behind
            distributed.on_main(lambda: create_run(path, config, data.codec, data.fingerprint, _splits(data)))
        distributed.on_main(lambda: forget_metrics_after(path, trainer.progress.step))
        loop.run()
    return path


def _need_less(path: Path, config: RunConfig) -> str:
    """What to do where memory does not suffice."""
    found = checkpoints(path)
    safe = f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was written yet"
    length = " or data.max_tokens" if isinstance(config, TextRunConfig) else ""
    return (
        f"{safe}; free some and go on with --resume, or in a new run lower train.batch_size{length}, "
        "raise train.accumulate or use train.precision=bf16"
    )


def _together(config: RunConfig) -> AbstractContextManager[None]:
    """With all processes of this run."""
    return distributed.one_voice(pick_device(config.train.device), Interrupted)


class Loop:
    """The way of a run: update, log, measure, choose and save, until the end."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.report = trainer, trainer.report
        self.path, self.settings = trainer.path, trainer.config.train
        self.log_file = RunLog(self.path, self.settings.tensorboard)

    def run(self) -> None:
        """Train to the end, or until a signal or an early stop.

        Raises:
            UserError: a loss that is no number, or a full disk.
            Interrupted: a signal came; everything is saved.
        """
        self._announce()
        self.trainer.meter.began = time.monotonic()
        grace = GRACE if distributed.world() > 1 else 0.0
        try:
            with stop_on_signals(grace) as stop, self.log_file.open():
                while self.trainer.progress.step < self.trainer.total and not self._exhausted():
                    self.trainer.update()
                    self._look(stop)
                self.finish()
        finally:
            self.report.close()

    def _look(self, stop: Stop) -> None:
        """What is due after an update: log, validate, save, and stop where a signal came."""
        trainer, settings = self.trainer, self.settings
        every = settings.validate_every or trainer.feed.steps_per_epoch
        step = trainer.progress.step
        last = step == trainer.total
        if step % settings.log_every == 0 or last:
            self.log()
        if step % every == 0 or last:
            self.validate()
        number = distributed.largest(stop.number)  # a signal to one process stops all
        if step % (settings.save_every or every) == 0 or last or number:
            trainer.save()
        if number and not last:
            raise Interrupted(
                f"stopped at step {step} of {trainer.total}, everything is saved: "
                f"go on with `seqvae train --resume {self.path}`",
                number,
            )

    def log(self) -> None:
        """Write the means since the last line, and show them."""
        trainer, step = self.trainer, self.trainer.progress.step
        began = time.monotonic()
        values = trainer.meter.means(trainer.names, trainer.unit)  # a GPU still works on the last updates
        trainer.progress.seconds += time.monotonic() - began
        trainer.stop_unless_finite(torch.tensor(list(values.values())), step - 1)
        values["lr"] = float(trainer.optimizers["model"].param_groups[0]["lr"])
        self.log_file.write("train", step, values)
        shown = {k: values[k] for k in (f"{trainer.unit}_per_s", "rate", "distortion", "beta")}
        units = trainer.progress.last_validation.get("active_units")
        shown |= {} if units is None else {"active_units": units}
        self.report.advance(step, trainer.total, numbers(shown))

    def validate(self) -> None:
        """Measure at beta = 1 without remedies, and choose."""
        with self.trainer.whole() as found:
            self._validate(found.vae)

    def _validate(self, vae: VAE) -> None:
        trainer, step = self.trainer, self.trainer.progress.step
        settled = step >= min(trainer.objective.settled_at(), trainer.total)
        with autocast(trainer.precision, trainer.device):
            metrics = distributed.on_main(lambda: self._measured(vae, settled))
        trainer.stop_unless_finite(torch.tensor(metrics.get("neg_elbo", metrics["distortion"])), step - 1)
        trainer.objective.after_validation(metrics)
        trainer.progress.last_validation = metrics
        self.log_file.write("valid", step, metrics)
        epoch = step / trainer.feed.steps_per_epoch
        self.report.note(f"step {step} (epoch {epoch:.1f})  validation: {numbers(metrics)}")
        if reason := judge(trainer.progress, metrics, self.settings, settled):
            distributed.on_main(lambda: self._keep(vae, f"step {step}: {reason}"))
        if settled:
            self._tell_of_collapse(metrics)

    def _tell_of_collapse(self, metrics: dict[str, Any]) -> None:
        run, cures = self.trainer, wing_of(self.trainer.config).cures
        dim = run.vae.latent.dim
        cause = run.data.collapse_cause() if is_collapsed(metrics, dim) else None
        if news := collapse_news(run.progress, metrics, dim, cures, cause):
            (self.report.warn if run.progress.collapsed else self.report.note)(news)

    def _measured(self, vae: VAE, settled: bool) -> dict[str, Any]:
        """MI is asked for by a remedy, or, over fewer examples, to see whether the code has collapsed."""
        batches = self.trainer.feed.valid(self.settings.valid_examples)
        many = Settings.mi_examples if self.trainer.objective.wants_mi() else settled * MI_EXAMPLES
        return validate(vae, batches, mi_examples=many)

    def _keep(self, vae: VAE, selected: str) -> None:
        save_weights(self.path, vae)
        self._write_card(selected)

    def _write_card(self, selected: str) -> None:
        run, data = self.trainer, self.trainer.data
        found = data.fingerprint, _splits(data)
        write_card(self.path, run.config, data.codec, run.progress, selected, *found)

    def finish(self) -> None:
        """Mark the run as finished and say what it came to."""
        progress = self.trainer.progress
        chosen = distributed.on_main(self._chosen_rate)
        progress.finished = True
        card = distributed.on_main(lambda: read_card(self.path))
        distributed.on_main(lambda: self._write_card(card["selected"]))
        if chosen:
            distributed.on_main(lambda: add_to_card(self.path, rate=chosen))
            self.report.note(in_words(chosen))
        self.report.close()
        self.report.note(
            f"finished {progress.step} steps{self._early()} in {progress.seconds / 60:.1f} minutes of "
            f"training ({progress.tokens / max(1e-9, progress.seconds):,.0f} {self.trainer.unit}/s); "
            f"selected {card['selected']}"
        )

    def _chosen_rate(self) -> dict[str, Any] | None:
        """The default rate of a run with a dial, put into the selected weights; how it was chosen."""
        if not has_dial(self.trainer.vae.latent):
            return None
        vae = load_run(self.path, self.trainer.device).vae
        chosen = best_rate(vae, self.trainer.feed.valid(EXAMPLES), progress=self.report.advance)
        save_weights(self.path, with_rate(vae, chosen["nats"]))
        return chosen

    def _exhausted(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.trainer.progress.worse >= patience

    def _early(self) -> str:
        """Why a run came to its end before its last step."""
        progress, total = self.trainer.progress, self.trainer.total
        if progress.step == total:
            return ""
        return f" of {total}, as {progress.worse} validations brought nothing better (train.patience),"

    def _announce(self) -> None:
        trainer = self.trainer
        millions = sum(p.numel() for p in trainer.vae.parameters()) / 1e6
        self.report.note(
            f"{millions:.1f} M parameters, {trainer.total} steps of {self.settings.batch_size} examples "
            f"({trainer.total / trainer.feed.steps_per_epoch:.1f} epochs) on {trainer.device} "
            f"in {trainer.precision}"
        )


def _splits(data: Data) -> dict[str, dict[str, str]]:
    return {name: data.split_fingerprint(name) for name in data.splits}


@contextmanager
def _repeatable() -> Iterator[None]:
    """Let cuDNN choose kernels that give the same bits twice, or a resumed run would end elsewhere."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
