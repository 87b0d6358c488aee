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
    split = "test" if "test" in data.splits else "valid"
    _, batches, measures = vae.evaluation_inputs(None, 64, sizes.examples)
    settings = EvaluationSettings(prior_draws=sizes.draws)
    report = evaluate(
        vae.vae, batches, samples=sizes.samples, measures=measures, settings=settings, progress=progress
    )
    source = modality_of(vae.run.config).make_batch_source(data, 64, 1, 0)
    count = max(1, min(sizes.training, source.examples) // 64)
    seen: list[Batch] = [batch for step in range(count) for batch in source.update(step)]
    with evaluation_mode(vae.vae):
        return _measure_all(vae, data, split, batches, seen, report, scorer, sizes, source.steps_per_epoch)


def _measure_all(
    vae: PretrainedVAE,
    data: Any,
    split: str,
    batches: Sequence[Batch],
    seen: Sequence[Batch],
    report: Mapping[str, Any],
    scorer: TextVAE | None,
    sizes: Sizes,
    steps_per_epoch: int,
) -> Measurements:
    model, config = vae.vae, vae.run.config
    held = run_evaluation_pass(EvaluationPass(model, batches), 1, lambda batch: 1)
    trained = run_evaluation_pass(EvaluationPass(model, seen), 1, lambda batch: 1)
    leaked = torch.from_numpy(leaked_rows(data, split))[torch.cat([batch.index for batch in batches]).cpu()]
    holes = length = None
    if held.dim:
        c = resample_conditions(model, batches, sizes.draws)
        draws = sample_prior(model, sizes.draws, 1, c=c).cpu()
        holes = find_holes(trained.posteriors, held["z"].cpu(), draws, model.latent.has_density)
    text = isinstance(vae, TextVAE) and isinstance(config, TextRunConfig)
    if held.dim and text:
        length = measure_length(model, batches, held)
    few = batches[: max(1, 200 // 64)]
    step = int(vae.run.card["progress"]["step"])
    return Measurements(
        config=config,
        split=split,
        steps=step,
        epochs=step / max(1, steps_per_epoch),
        report=report,
        train_cost=_cost(trained, seen),
        held_cost=_cost(held, batches),
        leaked_cost=_cost(held, batches, leaked),
        fresh_cost=_cost(held, batches, ~leaked),
        overlap=find_overlap(data),
        curve=read_curve(vae.run.path),
        tokens=measure_tokens(config, data, split) if isinstance(config, TextRunConfig) else None,
        language=_language(vae, data, split, sizes, holes, scorer),
        holes=holes,
        width=measure_width(model, few),
        length=length,
        rates=measure_range(vae, split),
    )


def _language(
    vae: PretrainedVAE, data: Any, split: str, sizes: Sizes, holes: HoleTest | None, scorer: TextVAE | None
) -> LanguageTest | None:
    if not isinstance(vae, TextVAE):
        return None
    held = sentences_of(data.splits[split], sizes.examples)
    return measure_language(vae, data, held, None if holes is None else (holes.codes, holes.draws), scorer)


def _cost(found: PerExample, batches: Sequence[Batch], rows: torch.Tensor | None = None) -> Any:
    """Nats per target of all examples, or of some; None of none."""
    cost = found["distortion"] + (found["kl"].sum(-1) if "kl" in found else 0)
    targets = torch.cat([batch.target_counts for batch in batches]).cpu().double()
    if rows is None:
        return float(cost.sum() / targets.sum())
    return float(cost[rows].sum() / targets[rows].sum()) if bool(rows.any()) else None
