"""Everything that the checks read, measured once per run.

Shapes: N held-out examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from seqvae.analysis.doctor.measures.curve import Curve, read_curve
from seqvae.analysis.doctor.measures.holes import HoleTest, find_holes
from seqvae.analysis.doctor.measures.language import LanguageTest, measure_language, sentences_of
from seqvae.analysis.doctor.measures.length import LengthTest, measure_length
from seqvae.analysis.doctor.measures.overlap import Overlap, find_overlap, leaked_rows
from seqvae.analysis.doctor.measures.rates import RateRangeTest, measure_range
from seqvae.analysis.doctor.measures.tokens import TokenFacts, measure_tokens
from seqvae.analysis.doctor.measures.width import WidthTest, measure_width
from seqvae.build import modality_of
from seqvae.config.schema import RunConfig, TextRunConfig
from seqvae.evaluation.evaluate import EvaluationSettings, evaluate
from seqvae.evaluation.metrics.evaluation_pass import (
    EvaluationPass,
    PerExample,
    ProgressCallback,
    evaluation_mode,
    run_evaluation_pass,
)
from seqvae.inference import PretrainedVAE, TextVAE
from seqvae.interfaces import Batch
from seqvae.models.sampling import resample_conditions, sample_prior
from seqvae.runs.run_data import load_run_data

FEW = 3  # batches of 64, on which the width of posteriors is tried


@dataclass(frozen=True)
class Sizes:
    """How much is measured: enough for the thresholds, little enough for a minute on a CPU."""

    examples: int = 400  # N
    training: int = 1200  # training examples whose posteriors are the aggregate
    samples: int = 20  # K of the importance weights
    draws: int = 1000  # of the prior


@dataclass(frozen=True)
class Measurements:
    """The numbers of one run; None where one does not apply. Costs are in nats per example.

    `report` is that of `evaluate` on held-out examples, `train_cost` and `held_cost` are -ELBO (distortion
    without a density) per target. `leaked_cost` and `fresh_cost` are the same of held-out examples that stand
    in the training data and of the others.
    """

    config: RunConfig
    split: str
    steps: int
    epochs: float
    report: Mapping[str, Any]
    train_cost: float
    held_cost: float
    leaked_cost: float | None
    fresh_cost: float | None
    overlap: Overlap
    curve: Curve | None = None
    tokens: TokenFacts | None = None
    language: LanguageTest | None = None
    holes: HoleTest | None = None
    width: WidthTest | None = None
    length: LengthTest | None = None
    rates: RateRangeTest | None = None

    @property
    def dim(self) -> int:
        """D."""
        return len(self.report.get("spectrum") or ())

    @property
    def needed(self) -> float | None:
        """Nats of a held-out sentence under the language model, without any code."""
        return None if self.language is None else self.language.per_sentence

    @property
    def language_model(self) -> str:
        """Which language model that is."""
        return "" if self.language is None else self.language.model

    def value(self, key: str) -> float | None:
        """A number of the report; None where it does not apply."""
        found = self.report.get(key)
        return float(found) if isinstance(found, int | float) else None


def measure(
    vae: PretrainedVAE,
    scorer: TextVAE | None = None,
    sizes: Sizes | None = None,
    progress: ProgressCallback | None = None,
) -> Measurements:
    """Measure a run on its own data.

    Raises:
        UserError: the data are not there, or the scorer is no language model of the same tokens.
    """
    sizes = sizes or Sizes()
    data = load_run_data(vae.run, "train")
    _, batches, measures = vae.evaluation_inputs(None, 64, sizes.examples)
    settings = EvaluationSettings(prior_draws=sizes.draws)
    report = evaluate(
        vae.vae, batches, samples=sizes.samples, measures=measures, settings=settings, progress=progress
    )
    with evaluation_mode(vae.vae):
        return _Passes(vae, data, batches, sizes).all(report, scorer)


class _Passes:
    """The held-out examples and as many training examples, encoded once for all measurements."""

    def __init__(self, vae: PretrainedVAE, data: Any, batches: Sequence[Batch], sizes: Sizes) -> None:
        self.vae, self.data, self.batches, self.sizes = vae, data, batches, sizes
        self.split = "test" if "test" in data.splits else "valid"
        source = modality_of(vae.run.config).make_batch_source(data, 64, 1, 0)
        count = max(1, min(sizes.training, source.examples) // 64)
        self.seen: list[Batch] = [batch for step in range(count) for batch in source.update(step)]
        self.steps_per_epoch = max(1, source.steps_per_epoch)
        self.held = run_evaluation_pass(EvaluationPass(vae.vae, batches), 1, lambda batch: 1)
        self.trained = run_evaluation_pass(EvaluationPass(vae.vae, self.seen), 1, lambda batch: 1)

    def all(self, report: Mapping[str, Any], scorer: TextVAE | None) -> Measurements:
        """Everything, beside the report of the evaluation."""
        vae, config, held, batches = self.vae, self.vae.run.config, self.held, self.batches
        step, holes = int(vae.run.card["progress"]["step"]), self._holes()
        index = torch.cat([batch.index for batch in batches]).cpu()
        leaked = torch.from_numpy(leaked_rows(self.data, self.split))[index]
        text = isinstance(config, TextRunConfig)
        return Measurements(
            config=config,
            split=self.split,
            steps=step,
            epochs=step / self.steps_per_epoch,
            report=report,
            train_cost=_cost(self.trained, self.seen),
            held_cost=_cost(held, batches),
            leaked_cost=_cost(held, batches, leaked),
            fresh_cost=_cost(held, batches, ~leaked),
            overlap=find_overlap(self.data),
            curve=read_curve(vae.run.path),
            tokens=measure_tokens(config, self.data, self.split)
            if isinstance(config, TextRunConfig)
            else None,
            language=self._language(holes, scorer),
            holes=holes,
            width=measure_width(vae.vae, batches[:FEW]),
            length=measure_length(vae.vae, batches, held) if held.dim and text else None,
            rates=measure_range(vae, self.split),
        )

    def _holes(self) -> HoleTest | None:
        """Prior draws beside codes; None without a code."""
        model, draws = self.vae.vae, self.sizes.draws
        if not self.held.dim:
            return None
        drawn = sample_prior(model, draws, 1, c=resample_conditions(model, self.batches, draws)).cpu()
        return find_holes(self.trained.posteriors, self.held["z"].cpu(), drawn, model.latent.has_density)

    def _language(self, holes: HoleTest | None, scorer: TextVAE | None) -> LanguageTest | None:
        """Costs and samples of sentences; None of pictures."""
        if not isinstance(self.vae, TextVAE):
            return None
        held = sentences_of(self.data.splits[self.split], self.sizes.examples)
        codes = None if holes is None else (holes.codes, holes.draws)
        return measure_language(self.vae, self.data, held, codes, scorer)


def _cost(found: PerExample, batches: Sequence[Batch], rows: torch.Tensor | None = None) -> Any:
    """Nats per target of all examples, or of some; None of none."""
    cost = found["distortion"] + (found["kl"].sum(-1) if "kl" in found else 0)
    targets = torch.cat([batch.target_counts for batch in batches]).cpu().double()
    if rows is None:
        return float(cost.sum() / targets.sum())
    return float(cost[rows].sum() / targets[rows].sum()) if bool(rows.any()) else None
