"""Validation in training: metrics at beta = 1, selected weights, and the default of a variable rate."""

from __future__ import annotations

from typing import Any

import torch

from seqvae.build import modality_of
from seqvae.distributed import collectives
from seqvae.evaluation.evaluate import EvaluationSettings, validate
from seqvae.evaluation.rate_sweep import EXAMPLES, find_best_rate, is_variable_rate
from seqvae.interfaces import Data
from seqvae.models.pretrained.golden import write_golden
from seqvae.models.sampling import with_rate
from seqvae.models.vae import VAE
from seqvae.runs.metrics_log import RunLog
from seqvae.runs.run_folder import load_run, write_card
from seqvae.runs.weights import save_weights
from seqvae.training.model_selection import MI_EXAMPLES, collapse_message, is_collapsed, select_checkpoint
from seqvae.training.trainer import Trainer
from seqvae.utils.device import autocast
from seqvae.utils.reporter import format_numbers


class Validation:
    """Validates the model of a trainer and keeps the selected weights in the run folder."""

    def __init__(self, trainer: Trainer, log_file: RunLog) -> None:
        self.trainer, self.log_file, self.report = trainer, log_file, trainer.report
        self.path, self.settings = trainer.path, trainer.config.train

    def run(self) -> None:
        """Validate at beta = 1 without remedies, log the metrics, and select the checkpoint."""
        with self.trainer.full_model() as found:
            self._validate(found.vae)

    def _validate(self, vae: VAE) -> None:
        trainer, step = self.trainer, self.trainer.progress.step
        settled = step >= min(trainer.objective.schedule_end(), trainer.total)
        with autocast(trainer.precision, trainer.device):
            metrics = collectives.run_on_main(lambda: self._measure(vae, settled))
        trainer.stop_unless_finite(torch.tensor(metrics.get("neg_elbo", metrics["distortion"])), step - 1)
        trainer.objective.after_validation(metrics)
        trainer.progress.last_validation = metrics
        self.log_file.write("valid", step, metrics)
        epoch = step / trainer.batch_source.steps_per_epoch
        self.report.note(f"step {step} (epoch {epoch:.1f})  validation: {format_numbers(metrics)}")
        if reason := select_checkpoint(trainer.progress, metrics, self.settings, settled):
            collectives.run_on_main(lambda: self._save_selected(vae, f"step {step}: {reason}"))
        if settled:
            self._report_collapse(metrics)

    def _report_collapse(self, metrics: dict[str, Any]) -> None:
        run, remedies = self.trainer, modality_of(self.trainer.config).remedy_hint
        dim = run.vae.latent.dim
        cause = run.data.collapse_cause() if is_collapsed(metrics, dim) else None
        if message := collapse_message(run.progress, metrics, dim, remedies, cause):
            (self.report.warn if run.progress.collapsed else self.report.note)(message)

    def _measure(self, vae: VAE, settled: bool) -> dict[str, Any]:
        """Validate, with MI if a remedy wants it or, over fewer examples, to detect collapse once settled."""
        batches = self.trainer.batch_source.valid(self.settings.valid_examples)
        many = EvaluationSettings.mi_examples if self.trainer.objective.wants_mi() else settled * MI_EXAMPLES
        return validate(vae, batches, mi_examples=many)

    def _save_selected(self, vae: VAE, selected: str) -> None:
        save_weights(self.path, vae)
        write_golden(self.path, self.trainer.config, vae, self.trainer.data)
        self.write_card(selected)

    def write_card(self, selected: str) -> None:
        """Write config.json, which says why the weights were selected."""
        run, data = self.trainer, self.trainer.data
        found = data.fingerprint, split_fingerprints(data)
        write_card(self.path, run.config, data.codec, run.progress, selected, *found)

    def choose_rate(self) -> dict[str, Any] | None:
        """Choose the default rate of a variable-rate run and store it in the weights; None for other runs."""
        if not is_variable_rate(self.trainer.vae.latent):
            return None
        vae = load_run(self.path, self.trainer.device).vae
        few = min(EXAMPLES, self.settings.valid_examples)
        chosen = find_best_rate(vae, self.trainer.batch_source.valid(few), progress=self.report.advance)
        save_weights(self.path, with_rate(vae, chosen["nats"]))
        return chosen


def split_fingerprints(data: Data) -> dict[str, dict[str, str]]:
    """The hashes of each split, by which later uses of the run recognise its data."""
    return {name: data.split_fingerprint(name) for name in data.splits}
