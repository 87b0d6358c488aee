"""A trained model as something to measure, of any modality: on its own data, or on a file.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from seqvae.build import modality_of
from seqvae.config.registry import lookup
from seqvae.distributed.collectives import is_main
from seqvae.evaluation.evaluate import EvaluationSettings, evaluate
from seqvae.evaluation.metrics.amortisation_gap import SVIConfig
from seqvae.evaluation.metrics.amortisation_gap import amortisation_gap as refinement
from seqvae.evaluation.metrics.evaluation_pass import EvaluationPass, ProgressCallback
from seqvae.evaluation.metrics.factors_report import factor_metrics
from seqvae.evaluation.prior_comparison import compare_priors
from seqvae.evaluation.score import ExampleScore, score_examples
from seqvae.inference.codec import LatentCodec
from seqvae.inference.posthoc_priors import (
    best_posthoc_prior,
    load_posthoc_prior,
    posthoc_prior_names,
    with_prior,
)
from seqvae.inference.remarks import say_prior
from seqvae.interfaces import Batch, ModalityMetrics
from seqvae.models.sampling import Condition, Rate, with_own_labels
from seqvae.runs.checkpoint import TRAINED, load_run
from seqvae.runs.run_data import load_run_data, with_corpus
from seqvae.utils.device import autocast, pick_precision

LOG = logging.getLogger("seqvae")  # without a handler of the user's, Python prints its warnings on stderr
REFINED = ("neg_elbo_refined", "rate_refined", "amortisation_gap", "amortisation_gap_se")


class PretrainedVAE(LatentCodec, library_name="seqvae"):
    """A trained VAE for use; every modality has its own face."""

    def score(
        self,
        examples: Sequence[Any],
        samples: int = 20,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[ExampleScore]:
        """Nats of each example, `iw_nll` from `samples` codes, and how many tokens they are for.

        Raises:
            UserError: as `encode`, but a model without a code scores too; or no sample.
        """
        vae = self.vae if condition is None else with_own_labels(self.vae)
        return score_examples(
            vae, list(self._conditioned_batches(examples, seed, rate, condition)), samples, progress
        )

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
    ) -> dict[str, Any]:
        """All measures (`seqvae.evaluation.evaluate.KEYS` and more) on the test split, or on the file `data`.

        The report says which data and which precision it was: bf16 is faster and rounds. A run without a
        test split is measured on its validation split; `examples` takes only the first so many. With `refine`
        steps of SVI for each example, `amortisation_gap` says what the encoder leaves on the table. With
        `factors`, what `factor_scores` says is there too. Where several processes work together all of them
        must ask, and share the examples out: the numbers are those of one.

        Raises:
            UserError: the file, or the run's own data, cannot be read; a rate out of the run's range; factors
                are asked for and `factor_scores` has none.
        """
        vae = self.with_defaults(rate)
        told = vae.factor_scores(data, progress, batch_size, examples) if factors else {}
        where, batches, measures = vae.evaluation_inputs(data, batch_size, examples)
        how: dict[str, Any] = {"settings": EvaluationSettings(together=True), "progress": progress}
        with autocast(pick_precision(precision, self.device), self.device):
            report = evaluate(vae.vae, batches, samples=samples, measures=measures, **how)
            if refine:
                found = refinement(vae.vae, batches, SVIConfig(steps=refine, samples=samples), progress)
                report |= {key: found[key] for key in REFINED}
        return {"data": where, **report, **told}

    def factor_scores(
        self,
        data: str | Sequence[str] | None = None,
        progress: ProgressCallback | None = None,
        batch_size: int = 64,
        examples: int | None = None,
    ) -> dict[str, Any]:
        """Whether each factor of the data has a dim of its own, and its nats: see `factor_metrics`.

        The factors are the run's labels; those of the embedded data where it was trained without any.

        Raises:
            UserError: no labels, labels that are no factors, or the model has no code.
        """
        names = self.run.config.data.labels or self._embedded_factors
        labelled = self.with_labels(names)
        batches = labelled.evaluation_inputs(data, batch_size, examples)[1]
        return factor_metrics(EvaluationPass(self.vae, batches, progress, together=True), names)

    def with_labels(self, names: Sequence[str]) -> Self:
        """The same model, whose data bring these labels of each example."""
        return self.with_data(labels=list(names))

    def with_data(self, **changes: Any) -> Self:
        """The same model, whose config has other values of `data`: how files that it is given are read."""
        data = self.run.config.data.model_copy(update=changes)
        config = self.run.config.model_copy(update={"data": data})
        return type(self)(replace(self.run, config=config), self.device)

    def with_corpus(self, place: str) -> Self:
        """The same model, whose corpus lies at `place` now: a file, or the folder of its files.

        Raises:
            UserError: nothing is there, or the run was trained on embedded data.
        """
        return type(self)(with_corpus(self.run, place), self.device)

    def with_prior(self, name: str) -> Self:
        """The same model under a prior that `seqvae fit-prior` fitted to it, or under the `trained` one.

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
        """What a fitted prior changes on the run's evaluation data: see `compare_priors`.

        Raises:
            UserError: as `with_prior`, or the data cannot be read.
        """
        batches = self.evaluation_inputs(None, 64, examples)[1]
        return compare_priors(self.vae, self.with_prior(name).vae.prior, batches, samples, progress)

    def _check_labels(self, store: Any, notes: Sequence[str]) -> None:
        """Refuse other data that lack a label of the condition; print what else is to say about them."""
        labels = self.vae.labels
        if labels is not None and not labels.fixed and self.vae.classifier is None:
            held = torch.from_numpy(np.array(store.labels))
            labels.require(held)
            notes = [*notes, *labels.describe_unknown(held)]
        for note in notes if is_main() else ():
            LOG.warning(
                "%s", note.encode("utf-8", "backslashreplace").decode()
            )  # a file name may be any bytes

    @property
    def _categories(self) -> dict[str, Sequence[str]]:
        """The names of classes in training, by label: other data number theirs alike."""
        return {} if self.vae.labels is None else self.vae.labels.categories

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the run's data say of each example."""
        names: tuple[str, ...] = load_run_data(self.run).labels
        return names

    def attribute(self, batches: Sequence[Batch], name: str) -> Tensor:
        """A label of each example (N,), NaN where it is missing.

        Raises:
            UserError: no label of that name.
        """
        names = self.label_names
        lookup("label", dict.fromkeys([*names, *modality_of(self.run.config).attributes]), name)
        return torch.cat([batch.labels for batch in batches])[:, names.index(name)]

    @property
    @abstractmethod
    def _embedded_factors(self) -> Sequence[str]:
        """What the embedded data that the run was trained on know of each example; nothing of other data."""

    @abstractmethod
    def evaluation_inputs(
        self, data: str | Sequence[str] | None, batch_size: int, examples: int | None
    ) -> tuple[str, Sequence[Batch], ModalityMetrics]:
        """The name of the evaluation data, its batches, and what measures them."""
