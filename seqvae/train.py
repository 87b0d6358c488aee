"""The training loop; it contains no remedy."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqvae import distributed
from seqvae.batch import Loss
from seqvae.build import build_objective, build_vae, check_names, knowing, known_shares, wing_of
from seqvae.checkpoint import (
    Progress,
    add_to_card,
    create_run,
    forget_metrics_after,
    load_checkpoint,
    load_parts,
    load_run,
    read_card,
    refuse_taken,
    save_checkpoint,
    save_weights,
    write_card,
)
from seqvae.config import RunConfig, parse_config
from seqvae.device import autocast, pick_device, pick_precision
from seqvae.disk import checkpoints
from seqvae.distributed import is_main
from seqvae.evaluate import validate
from seqvae.generate import with_rate
from seqvae.interfaces import Data, Facts
from seqvae.model import PARTS
from seqvae.objective import ENCODER_SIDE, TrainStep
from seqvae.optim import learning_rate, make_optimizer, set_learning_rate
from seqvae.progress import Reporter, Silent, numbers
from seqvae.rates import EXAMPLES, best_rate, has_dial, told
from seqvae.registry import UserError
from seqvae.runlog import Meter, RunLog
from seqvae.selection import collapse_warning, judge
from seqvae.signals import GRACE, Interrupted, stop_on_signals
from seqvae.updates import add_gradients, back_propagated, clipped, mixed_seed

DEFAULT_EPOCHS, DEFAULT_STEPS = 10, (3000, 6000)  # where a config gives neither


def train(config: RunConfig, out: str | Path, report: Reporter | None = None) -> Path:
    """Train a config into a new run folder, which is returned.

    Raises:
        UserError: what the user can mend; the last good checkpoint stays.
        Interrupted: a signal came; the message says how to go on.
    """
    check_names(config)
    path = Path(out)
    with _together(config):
        refuse_taken(path)
        data = distributed.agreed(lambda: wing_of(config).load_data(config, None))
        return _run(path, config, data, report or Silent(), new=True)


def resume(path: str | Path, report: Reporter | None = None) -> Path:
    """Go on with an unfinished run, as if it had never stopped.

    Raises:
        UserError: no run there, a damaged checkpoint, or a run that is finished.
    """
    path = Path(path)
    card = read_card(path)
    if card["progress"]["finished"]:
        raise UserError(f"{path} is finished after {card['progress']['step']} steps: train a new run")
    config = parse_config(card["run"], where=str(path / "config.json"))
    wing = wing_of(config)
    with _together(config):
        codec = wing.load_codec(path, card.get("sizes", {}))
        data = distributed.agreed(lambda: wing.load_data(config, codec))
        if card.get("data", data.fingerprint) != data.fingerprint:
            raise UserError(
                f"the data of {path} have changed since it began: put them back, or train a new run"
            )
        return _run(path, config, data, report or Silent(), new=False)


def _run(path: Path, config: RunConfig, data: Data, report: Reporter, new: bool) -> Path:
    report = report if is_main() else Silent()
    for line in data.report():
        report.note(line)
    config = knowing(config, data)
    with _threads(config.train.threads):
        trainer = Trainer(path, config, data, report)
        if new:  # only now: a config that cannot be built leaves no folder behind
            distributed.on_main(lambda: create_run(path, config, data.codec, data.fingerprint))
        trainer.restore()
        trainer.run()
    return path


def _together(config: RunConfig) -> AbstractContextManager[None]:
    """With all processes of this run."""
    return distributed.one_voice(pick_device(config.train.device), Interrupted)


def total_steps(config: RunConfig, steps_per_epoch: int) -> int:
    """Updates of a run; without `steps` and `epochs`, ten epochs within 3,000 to 6,000 updates."""
    if config.train.steps:
        return config.train.steps
    if config.train.epochs:
        return config.train.epochs * steps_per_epoch
    low, high = DEFAULT_STEPS
    return min(high, max(low, DEFAULT_EPOCHS * steps_per_epoch))


class Trainer:
    """One run: model, objective, optimizers, and where they stand."""

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
            load_parts(self.vae, config.init.run, list(config.init.parts))
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
        self.step_module = TrainStep(self.vae, self.objective).to(self.device)
        self.rivals = self.objective.adversaries()
        apart = [p for rival in self.rivals for p in rival.parameters()]
        self.optimizers = {"model": make_optimizer(settings, self.step_module, without=apart)}
        if apart:
            self.optimizers["adversary"] = make_optimizer(settings, nn.ModuleList(self.rivals))
        if settings.compile:
            self._compile()
        self.meter, self.names = Meter(), ["total"]
        self.log_file = RunLog(path, settings.tensorboard)

    def _compile(self) -> None:
        """Compile what says that it gains by it; names of weights do not change."""
        if wanted := _no_compiler(self.device):
            self.report.warn(f"train.compile is left out: no C++ compiler {wanted!r} here, install one")
            return
        for module in self.vae.modules():
            if getattr(module, "compiles", False):
                module.compile()

    def restore(self) -> None:
        """Take up the newest checkpoint, where there is one."""
        found = checkpoints(self.path)
        if found:
            states, self.progress = load_checkpoint(found[-1], self.vae, self.objective)
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(states[name])
            self.meter.load(self.progress.unlogged, self.device)
            self.report.note(f"going on from {found[-1]}")
        distributed.copy_from_main(self.step_module)
        distributed.on_main(lambda: forget_metrics_after(self.path, self.progress.step))

    def run(self) -> None:
        """Train to the end, or until a signal or an early stop."""
        settings = self.config.train
        every = settings.validate_every or self.feed.steps_per_epoch
        save_every = settings.save_every or every
        self._announce()
        self.meter.began = time.monotonic()
        grace = GRACE if distributed.world() > 1 else 0.0
        with stop_on_signals(grace) as stop, self.log_file.open():
            while self.progress.step < self.total and not self._exhausted():
                self.update()
                step = self.progress.step
                last = step == self.total
                if step % settings.log_every == 0 or last:
                    self.log()
                if step % every == 0 or last:
                    self.validate()
                number = distributed.largest(stop.number)  # a signal to one process stops all
                if step % save_every == 0 or last or number:
                    self.save()
                if number and not last:
                    self.report.close()
                    raise Interrupted(self._how_to_go_on(), number)
            self.finish()

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
        self._refuse_nan(step, values)
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

    def _refuse_nan(self, step: int, values: Tensor) -> None:
        """Stop before a loss or gradient that is no number reaches the weights."""
        if self.device.type == "cuda" and (step + 1) % self.config.train.log_every:
            return  # looking means waiting for the device; `log` and `save` look at the sums
        self._stop_unless_finite(values, step)

    def _stop_unless_finite(self, values: Tensor, step: int) -> None:
        if bool(torch.isfinite(values).all()):
            return
        self.report.close()
        found = checkpoints(self.path)
        safe = f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was written yet"
        raise UserError(
            f"the loss is not a number at step {step}: {safe}; lower train.lr or train.clip "
            "in a new run, or use train.precision=fp32"
        )

    def log(self) -> None:
        """Write the means since the last line, and show them."""
        step = self.progress.step
        values = self.meter.means(self.names, self.unit)
        self._stop_unless_finite(torch.tensor(list(values.values())), step - 1)
        values["lr"] = self.optimizers["model"].param_groups[0]["lr"]
        self.log_file.write("train", step, values)
        shown = {k: values[k] for k in (f"{self.unit}_per_s", "rate", "distortion", "beta")}
        units = self.progress.last_validation.get("active_units")
        shown |= {} if units is None else {"active_units": units}
        self.report.advance(step, self.total, numbers(shown))

    def validate(self) -> None:
        """Measure at beta = 1 without remedies, and choose."""
        step = self.progress.step
        with autocast(self.precision, self.device):
            metrics = distributed.on_main(self._measured)
        self._stop_unless_finite(torch.tensor(metrics.get("neg_elbo", metrics["distortion"])), step - 1)
        self.objective.after_validation(metrics)
        self.progress.last_validation = metrics
        self.log_file.write("valid", step, metrics)
        epoch = step / self.feed.steps_per_epoch
        self.report.note(f"step {step} (epoch {epoch:.1f})  validation: {numbers(metrics)}")
        self._select(metrics)
        if self._settled() and (warning := collapse_warning(metrics, self.vae.latent.dim)):
            self.report.warn(warning)

    def _measured(self) -> dict[str, Any]:
        batches = self.feed.valid(self.config.train.valid_examples)
        return validate(self.vae, batches, mi=self.objective.wants_mi())

    def _select(self, metrics: dict[str, Any]) -> None:
        """Keep the weights if they are the best since the schedules settled (or the only ones so far)."""
        if reason := judge(self.progress, metrics, self.config.train, self._settled()):
            distributed.on_main(lambda: self._keep(f"step {self.progress.step}: {reason}"))

    def _keep(self, selected: str) -> None:
        save_weights(self.path, self.vae)
        self._write_card(selected)

    def _settled(self) -> bool:
        return self.progress.step >= min(self.objective.settled_at(), self.total)

    def _write_card(self, selected: str) -> None:
        data = self.data
        write_card(self.path, self.config, data.codec, self.progress, selected, data.fingerprint)

    def save(self) -> None:
        """Write a checkpoint of this step."""
        if self.meter.total is not None:
            self._stop_unless_finite(self.meter.total, self.progress.step - 1)
        self.progress.unlogged = self.meter.state()
        states = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        progress, keep = self.progress, self.config.train.keep
        distributed.on_main(
            lambda: save_checkpoint(self.path, self.vae, self.objective, states, progress, keep)
        )

    def finish(self) -> None:
        """Mark the run as finished and say what it came to."""
        chosen = distributed.on_main(self._chosen_rate)
        self.progress.finished = True
        card = distributed.on_main(lambda: read_card(self.path))
        distributed.on_main(lambda: self._write_card(card["selected"]))
        if chosen:
            distributed.on_main(lambda: add_to_card(self.path, rate=chosen))
            self.report.note(told(chosen))
        self.report.close()
        minutes = self.progress.seconds / 60
        self.report.note(
            f"finished {self.progress.step} steps in {minutes:.1f} minutes of training "
            f"({self.progress.tokens / max(1e-9, self.progress.seconds):,.0f} {self.unit}/s); "
            f"selected {card['selected']}"
        )

    def _chosen_rate(self) -> dict[str, Any] | None:
        """The default rate of a run with a dial, put into the selected weights; how it was chosen."""
        if not has_dial(self.vae.latent):
            return None
        vae = load_run(self.path, self.device).vae
        chosen = best_rate(vae, self.feed.valid(EXAMPLES), progress=self.report.advance)
        save_weights(self.path, with_rate(vae, chosen["nats"]))
        return chosen

    def _exhausted(self) -> bool:
        patience = self.config.train.patience
        return patience is not None and self.progress.worse >= patience

    def _announce(self) -> None:
        millions = sum(p.numel() for p in self.vae.parameters()) / 1e6
        self.report.note(
            f"{millions:.1f} M parameters, {self.total} steps of {self.config.train.batch_size} examples "
            f"({self.total / self.feed.steps_per_epoch:.1f} epochs) on {self.device} in {self.precision}"
        )

    def _how_to_go_on(self) -> str:
        return (
            f"stopped at step {self.progress.step} of {self.total}, everything is saved: "
            f"go on with `seqvae train --resume {self.path}`"
        )


def _no_compiler(device: torch.device) -> str | None:
    """The C++ compiler that torch.compile wants and does not find on a CPU."""
    wanted = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return wanted if device.type == "cpu" and shutil.which(wanted) is None else None


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
