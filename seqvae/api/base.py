"""What a trained model of any modality can do: codes and measures.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from seqvae.api.hub import RunFolder
from seqvae.build import wing_of
from seqvae.checkpoint import Run
from seqvae.device import autocast, pick_precision
from seqvae.distributed import spread
from seqvae.evaluate import Settings, evaluate
from seqvae.fitted import load_fitted, with_prior
from seqvae.gains import brought
from seqvae.generate import (
    Condition,
    Rate,
    codes,
    conditioned,
    label_columns,
    path_between,
    rate_features,
    with_condition,
    with_own_labels,
    with_rate,
)
from seqvae.generate import Path as CodePath
from seqvae.interfaces import Batch, Measures
from seqvae.metrics.by_factor import factor_numbers
from seqvae.metrics.gather import Progress, Walk
from seqvae.metrics.refinement import Refining
from seqvae.metrics.refinement import refine as refinement
from seqvae.registry import UserError, lookup
from seqvae.scoring import Score, scores

REFINED = ("neg_elbo_refined", "rate_refined", "amortisation_gap", "amortisation_gap_se")


class PretrainedVAE(RunFolder, library_name="seqvae"):
    """A trained VAE for use; every modality has its own face."""

    modality: ClassVar[str]

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        if run.config.modality != self.modality:
            raise UserError(f"{run.path} holds a model of {run.config.modality}, not of {self.modality}")
        super().__init__(run, device)
        self.vae = run.vae.to(self.device)

    @property
    def latent_dim(self) -> int:
        """D, or 0 for a model without a code."""
        return self.vae.latent.dim

    def encode(
        self,
        examples: Sequence[Any],
        sample: bool = False,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
    ) -> Tensor:
        """Codes (N, D): posterior means, or one draw of each posterior, at `rate` nats (one, or one each).

        `condition`, {label: value}, is what a run that is told labels is told of all of them, or of each by
        lists. Where several processes work together all of them must ask, and each encodes its share.

        Raises:
            UserError: an example that cannot be read, a model without a code, a rate out of its range, or
                labels that are missing or unknown.
        """
        return self._coded(examples, sample, seed, rate, condition)[0]

    @torch.no_grad()
    def _coded(
        self,
        examples: Sequence[Any],
        sample: bool = False,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Codes (N, D) of the examples, and what the model was told of them, c (N, C)."""
        self._require_code()
        vae = self.vae if condition is None else with_own_labels(self.vae)

        def coded(batch: Batch) -> tuple[Tensor, Tensor | None]:
            c = vae.condition(batch)
            return codes(vae.posterior(batch), batch, sample).cpu(), None if c is None else c.cpu()

        parts = spread(list(self._conditioned(examples, seed, rate, condition)), coded, self.device)
        told = [c for _, c in parts if c is not None]
        found = torch.cat([torch.zeros(0, self.latent_dim), *(z for z, _ in parts)])
        return found, torch.cat(told) if told else None

    def _conditioned(
        self, examples: Sequence[Any], seed: int, rate: Rate, condition: Condition | None
    ) -> Iterator[Batch]:
        """What a user gave, as batches that carry what is asked of each."""
        n = len(examples)
        labels, rates = label_columns(self.vae, condition, n), rate_features(self.vae, rate, n)
        return conditioned(self._batches(examples, seed), labels, rates)

    def path(self, a: Any, b: Any, steps: int = 8, path: CodePath = "linear") -> Tensor:
        """Codes (steps, D) from the code of `a` to that of `b`.

        Raises:
            UserError: fewer than two steps.
        """
        if steps < 2:
            raise UserError(f"steps got {steps}: a path has at least its 2 ends")
        ends: Tensor = self.encode([a, b])
        return path_between(ends[0], ends[1], steps, path)

    def score(
        self,
        examples: Sequence[Any],
        samples: int = 20,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        progress: Progress | None = None,
    ) -> list[Score]:
        """Nats of each example, `iw_nll` from `samples` codes, and how many tokens they are for.

        Raises:
            UserError: as `encode`, but a model without a code scores too; or no sample.
        """
        vae = self.vae if condition is None else with_own_labels(self.vae)
        return scores(vae, list(self._conditioned(examples, seed, rate, condition)), samples, progress)

    def evaluate(
        self,
        data: str | None = None,
        samples: int = 20,
        progress: Progress | None = None,
        batch_size: int = 64,
        precision: str = "fp32",
        examples: int | None = None,
        rate: float | None = None,
        refine: int = 0,
        factors: bool = False,
    ) -> dict[str, Any]:
        """All measures (`seqvae.evaluate.KEYS` and more) on the test split, or on the file `data`.

        The report says which data and which precision it was: bf16 is faster and rounds. A run without a
        test split is measured on its validation split; `examples` takes only the first so many. With `refine`
        steps of SVI for each example, `amortisation_gap` says what the encoder leaves on the table. With
        `factors`, what `factor_scores` says is there too. Where several processes work together all of them
        must ask, and share the examples out: the numbers are those of one.

        Raises:
            UserError: the file, or the run's own data, cannot be read; a rate out of the run's range; factors
                are asked for and `factor_scores` has none.
        """
        if rate is not None:
            asked = (data, samples, progress, batch_size, precision, examples)
            return self.with_rate(rate).evaluate(*asked, refine=refine, factors=factors)
        told = self.factor_scores(data, progress, batch_size, examples) if factors else {}
        where, batches, measures = self._evaluated(data, batch_size, examples)
        how: dict[str, Any] = {"settings": Settings(together=True), "progress": progress}
        with autocast(pick_precision(precision, self.device), self.device):
            report = evaluate(self.vae, batches, samples=samples, measures=measures, **how)
            if refine:
                found = refinement(self.vae, batches, Refining(steps=refine, samples=samples), progress)
                report |= {key: found[key] for key in REFINED}
        return {"data": where, **report, **told}

    def factor_scores(
        self,
        data: str | None = None,
        progress: Progress | None = None,
        batch_size: int = 64,
        examples: int | None = None,
    ) -> dict[str, Any]:
        """Whether each factor of the data has a dim of its own, and its nats: see `factor_numbers`.

        The factors are the run's labels; those of the embedded data where it was trained without any.

        Raises:
            UserError: no labels, labels that are no factors, or the model has no code.
        """
        names = self.run.config.data.labels or self._embedded_factors
        data_block = self.run.config.data.model_copy(update={"labels": list(names)})
        config = self.run.config.model_copy(update={"data": data_block})
        labelled = type(self)(replace(self.run, config=config), self.device)
        batches = labelled._evaluated(data, batch_size, examples)[1]
        return factor_numbers(Walk(self.vae, batches, progress, together=True), names)

    def with_prior(self, name: str) -> Self:
        """The same model under a prior that `seqvae fit-prior` fitted to it.

        Raises:
            UserError: no such prior, or it was fitted to other weights.
        """
        prior = load_fitted(self.run.path, name, self.vae.latent)
        return type(self)(replace(self.run, vae=with_prior(self.vae, prior)), self.device)

    def prior_gains(
        self,
        name: str,
        samples: int = 20,
        examples: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """What a fitted prior brings on the run's evaluation data: see `seqvae.gains.brought`.

        Raises:
            UserError: as `with_prior`, or the data cannot be read.
        """
        batches = self._evaluated(None, 64, examples)[1]
        return brought(self.vae, self.with_prior(name).vae.prior, batches, samples, progress)

    def with_rate(self, nats: float) -> Self:
        """The same model with another default rate, which all that it does then has.

        Raises:
            UserError: a rate outside the range that was trained, or the run has no dial.
        """
        return type(self)(replace(self.run, vae=with_rate(self.vae, nats)), self.device)

    def with_condition(self, condition: Condition) -> Self:
        """The same model, told these labels of whatever it reads and writes then: {label: value}.

        Raises:
            UserError: labels that do not match those it was trained with, or it was trained with none.
        """
        return type(self)(replace(self.run, vae=with_condition(self.vae, condition)), self.device)

    @property
    def _categories(self) -> dict[str, Sequence[str]]:
        """The names of classes in training, by label: other data number theirs alike."""
        return {} if self.vae.labels is None else self.vae.labels.categories

    @abstractmethod
    def decode(self, z: Any) -> Any:
        """What the codes (N, D) stand for."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the run's data say of each example."""
        config = self.run.config
        return wing_of(config).load_data(config, self.run.codec).labels

    def attribute(self, batches: Sequence[Batch], name: str) -> Tensor:
        """A label of each example (N,), NaN where it is missing.

        Raises:
            UserError: no label of that name.
        """
        names = self.label_names
        lookup("label", dict.fromkeys(names), name)
        return torch.cat([batch.labels for batch in batches])[:, names.index(name)]

    @property
    @abstractmethod
    def _embedded_factors(self) -> Sequence[str]:
        """What the embedded data that the run was trained on know of each example; nothing of other data."""

    @abstractmethod
    def _batches(self, examples: Sequence[Any], seed: int) -> Iterator[Batch]:
        """What a user gave, as batches on the device."""

    @abstractmethod
    def _evaluated(
        self, data: str | None, batch_size: int, examples: int | None
    ) -> tuple[str, list[Batch], Measures]:
        """The name of the evaluation data, its batches, and what measures them."""

    def _codes(self, z: Any) -> Tensor:
        """Codes (N, D) as a user gives them.

        Raises:
            UserError: codes of another size.
        """
        given: Tensor = torch.as_tensor(z, dtype=torch.float32)
        if given.ndim != 2 or given.shape[1] != self.latent_dim:
            raise UserError(f"codes have shape {tuple(given.shape)}: this model reads (N, {self.latent_dim})")
        return given

    def _require_code(self) -> None:
        if not self.latent_dim:
            raise UserError("this run is a language model (latent: none): it has no code to encode into")
