"""Base class of trained models for use: scores, evaluation and priors.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from seqvae.evaluation.evaluate import EvaluationSettings, evaluate
from seqvae.evaluation.metrics.amortisation_gap import SVIConfig
from seqvae.evaluation.metrics.amortisation_gap import amortisation_gap as refinement
from seqvae.evaluation.metrics.evaluation_pass import EvaluationPass, ProgressCallback
from seqvae.evaluation.metrics.factors_report import factor_metrics
from seqvae.evaluation.prior_comparison import compare_priors
from seqvae.evaluation.score import ExampleScore, score_examples
from seqvae.inference.data_access import DataAccess
from seqvae.inference.given import as_count
from seqvae.inference.model_card import CARD, Measured, model_card
from seqvae.inference.posthoc_priors import (
    best_posthoc_prior,
    load_posthoc_prior,
    posthoc_prior_names,
    with_prior,
)
from seqvae.inference.remarks import say_prior
from seqvae.models.sampling import Condition, Rate, with_own_labels
from seqvae.runs.run_folder import TRAINED, load_run
from seqvae.utils.atomic_files import write_atomically
from seqvae.utils.device import autocast, pick_precision

REFINED = ("neg_elbo_refined", "rate_refined", "amortisation_gap", "amortisation_gap_se")


class PretrainedVAE(DataAccess, library_name="seqvae"):
    """A trained VAE that can also be evaluated; one subclass per modality."""

    def score(
        self,
        examples: Sequence[Any],
        samples: int = 20,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[ExampleScore]:
        """Negative log-likelihoods of examples, in nats. The rest as in `encode`.

        Args:
            examples: N sentences or images.
            samples: K importance samples of `iw_nll`, -ln (1/K) sum_k p(x, z_k) / q(z_k|x).
            seed: seed of the samples, keyed by content.
            rate: nats per code of a variable-rate run, one number or N; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of N.
            progress: called as (done, total, what).

        Returns:
            N scores: `iw_nll`, `rate` and `distortion` in nats per example, and the number of tokens.

        Raises:
            UserError: as `encode`, but a model without a code scores too; or no sample.
        """
        vae = self.vae if condition is None else with_own_labels(self.vae)
        batches = list(self.conditioned_batches(examples, seed, rate, condition))
        return score_examples(vae, batches, as_count("samples", samples), progress)

    def evaluate(
        self,
        data: str | Sequence[str] | None = None,
        samples: int = 20,
        progress: ProgressCallback | None = None,
        batch_size: int = 64,
        precision: str = "fp32",
        examples: int | None = None,
        rate: float | None = None,
        refine: int = 0,
        factors: bool = False,
        draws: int = EvaluationSettings.prior_draws,
    ) -> dict[str, Any]:
        """All metrics (`seqvae.evaluation.evaluate.KEYS` and more). A collective: call it on every rank.

        Several ranks share the examples; the numbers are those of one rank on all of them.

        Args:
            data: a file or several; the test split by default, or the validation split if there is none.
            samples: K of the IW-NLL.
            progress: called as (done, total, what).
            batch_size: examples per batch.
            precision: fp32, bf16 (faster, rounded) or auto.
            examples: only the first `examples` examples.
            rate: nats per code of a variable-rate run; the run's default rate if None.
            refine: steps of SVI per example, which add `amortisation_gap` (nats).
            factors: add the metrics of `factor_scores`.
            draws: greedy sentences from the prior, of which `distinct_samples` counts the different ones.

        Returns:
            {metric: value}, with the name of the data under `data`; see docs/metrics.md for units.

        Raises:
            UserError: the file, or the run's own data, cannot be read; a rate out of the run's range; factors
                are asked for and `factor_scores` has none.
        """
        vae, batch_size = self.with_defaults(rate), as_count("batch_size", batch_size, 1)
        examples = None if examples is None else as_count("examples", examples, 1)
        refine, draws = as_count("refine", refine), as_count("draws", draws)
        scores = vae.factor_scores(data, progress, batch_size, examples) if factors else {}
        where, batches, measures = vae.evaluation_inputs(data, batch_size, examples)
        settings = EvaluationSettings(together=True, prior_draws=draws)
        how: dict[str, Any] = {"settings": settings, "progress": progress}
        with autocast(pick_precision(precision, self.device), self.device):
            report = evaluate(vae.vae, batches, samples=samples, measures=measures, **how)
            if refine:
                found = refinement(vae.vae, batches, SVIConfig(steps=refine, samples=samples), progress)
                report |= {key: found[key] for key in REFINED}
        return {"data": where, **report, **scores}

    def write_card(
        self,
        data: str | Sequence[str] | None = None,
        samples: int = 20,
        examples: int | None = None,
        rates: Sequence[float] = (),
        shown: int = 5,
        progress: ProgressCallback | None = None,
    ) -> Path:
        """Measure as `evaluate` does, and write the run's model card for the Hub: README.md in its folder.

        Args:
            data: as in `evaluate`.
            samples: K of the IW-NLL.
            examples: only the first `examples` examples.
            rates: nats per code of a variable-rate run, one row of the table per rate; by default the run's.
            shown: number of reconstructed sentences of the data, and of samples, that the card lists.
            progress: called as (done, total, what).

        Returns:
            The file.

        Raises:
            UserError: as `evaluate`.
        """
        asked: dict[str, float | None] = {f"{rate:g} nats": rate for rate in rates}
        reports = {
            name: self.evaluate(data, samples, progress, examples=examples, rate=rate)
            for name, rate in (asked or {"the default": None}).items()
        }
        measured = Measured(reports, *self._shown_examples(data, shown))
        file = self.run.path / CARD
        write_atomically(file, lambda path: model_card(self.run, measured).save(path))
        return file

    def _shown_examples(
        self, data: str | Sequence[str] | None, n: int
    ) -> tuple[list[tuple[str, str]], list[str]]:
        """Pairs of n examples and their reconstructions, and n samples; empty if they are not text."""
        return [], []

    def factor_scores(
        self,
        data: str | Sequence[str] | None = None,
        progress: ProgressCallback | None = None,
        batch_size: int = 64,
        examples: int | None = None,
    ) -> dict[str, Any]:
        """Disentanglement metrics (MIG, DCI, SAP ...) over factors of the data: see `factor_metrics`.

        The factors are the run's labels, or those of the embedded data if the run has no labels.

        Raises:
            UserError: no labels, labels that cannot be factors, or a model without a code.
        """
        names = self.run.config.data.labels or self.embedded_factors
        labelled = self.with_labels(names)
        batches = labelled.evaluation_inputs(data, batch_size, examples)[1]
        return factor_metrics(EvaluationPass(self.vae, batches, progress, together=True), names)

    def with_prior(self, name: str) -> Self:
        """The same model with a prior that `seqvae fit-prior` stored in the run, or with the `trained` one.

        Raises:
            UserError: no such prior, or it was fitted to other weights.
        """
        run = self.run
        if name != TRAINED or name in posthoc_prior_names(run.path):
            prior = load_posthoc_prior(run.path, name, self.vae.latent)
        elif run.prior in (None, TRAINED):
            prior = self.vae.prior
        else:
            prior = load_run(run.path, self.device).vae.prior
        return type(self)(replace(run, vae=with_prior(self.vae, prior), prior=name), self.device)

    def with_default_prior(self, rate: Rate = None) -> Self:
        """The same model under the prior that samples are drawn from unless one was chosen.

        Of the priors fitted to the run that with the best held-out density, else the trained one. One that
        was fitted at a single rate serves that rate only.
        """
        if self.run.prior is not None:
            return self
        name = best_posthoc_prior(self.run.path, self.vae.latent, rate)
        if name is None:
            return self
        say_prior(self.run.path, name)
        return self.with_prior(name)

    def prior_gains(
        self,
        name: str,
        samples: int = 20,
        examples: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> dict[str, Any]:
        """The gain of a fitted prior on the run's evaluation data, in nats: see `compare_priors`.

        Raises:
            UserError: as `with_prior`, or the data cannot be read.
        """
        batches = self.evaluation_inputs(None, 64, examples)[1]
        return compare_priors(self.vae, self.with_prior(name).vae.prior, batches, samples, progress)
