"""The inputs of a figure: runs, options, and the measurements that it shows, each made once.

Shapes: N examples, D latent dims, C x H x W an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from seqvae.analysis.minimum_rate import ReconstructionTarget, find_minimum_rates
from seqvae.analysis.sample_quality import real_quality, sample_quality
from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import (
    EvaluationPass,
    PerExample,
    ProgressCallback,
    evaluation_mode,
    run_evaluation_pass,
)
from seqvae.evaluation.metrics.keys import OVER_RATES
from seqvae.evaluation.rate_sweep import is_variable_rate, resolve_rates
from seqvae.inference import ImageVAE, PretrainedVAE, TextVAE
from seqvae.inference.inputs import load_inputs
from seqvae.interfaces import Batch

REPORT_KEYS = ("data", *OVER_RATES)  # keys of an evaluation in a table over rates


@dataclass(frozen=True)
class PlotInputs:
    """The run of a figure, and how much of it to measure; measurements are cached."""

    vae: PretrainedVAE
    label: str | None = None  # the name of the label that colours codes
    examples: int = 2000  # of the evaluation split, at most
    seed: int = 0
    others: tuple[PretrainedVAE, ...] = ()  # runs to compare with
    rates: tuple[float, ...] = ()  # nats, of a variable-rate run; doublings within its range by default
    samples: int = 20  # K of IW-NLL
    draws: int = 2000  # prior samples for the sample quality
    wanted: ReconstructionTarget = field(
        default_factory=ReconstructionTarget
    )  # when an example counts as reconstructed
    progress: ProgressCallback | None = None
    beside: PretrainedVAE | None = None  # another run, drawn to the right

    @cached_property
    def batches(self) -> Sequence[Batch]:
        """The evaluation examples."""
        _, batches, _ = self.vae.evaluation_inputs(None, 64, self.examples)
        return batches

    @cached_property
    def gathered(self) -> PerExample:
        """Codes and their KL."""
        model = self.vae.vae
        with evaluation_mode(model):
            return run_evaluation_pass(EvaluationPass(model, self.batches), 1, lambda batch: 1)

    @property
    def kl(self) -> Tensor:
        """(D,) KL per dim in nats; the variance of the codes if there is no KL."""
        if "kl" in self.gathered and self.gathered["kl"].shape[1] == self.gathered.dim:
            return self.gathered["kl"].mean(0)
        return self.gathered["mean"].var(0)

    @property
    def labels(self) -> tuple[Tensor | None, str]:
        """The chosen label, or the first one, of each example (N,), and its name.

        Raises:
            UserError: no label of that name.
        """
        name = self.label or next(iter(self.vae.label_names), None)
        return (None, "") if name is None else (self.vae.attribute(self.batches, name), name)

    @cached_property
    def conditions(self) -> Tensor | None:
        """Condition c (N, C) of the evaluation examples, with their own labels; None if unconditional."""
        model = self.vae.vae
        with evaluation_mode(model):
            found = [model.condition(batch.to(self.vae.device)) for batch in self.batches]
        conditions = [c.cpu() for c in found if c is not None]
        return torch.cat(conditions) if conditions else None

    @property
    def pictures(self) -> ImageVAE:
        """The model, if it is an image VAE.

        Raises:
            UserError: a run of another modality.
        """
        if not isinstance(self.vae, ImageVAE):
            raise UserError(f"this plot shows pictures, {self.vae.run.path} is a run of {self.vae.modality}")
        return self.vae

    def originals(self, n: int) -> Tensor:
        """The first `n` evaluation images (n, C, H, W)."""
        self.pictures  # noqa: B018 - raises for a text run
        return torch.cat([batch.targets for batch in self.batches])[:n]

    def decode(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Images (N, C, H, W) of codes (N, D), conditioned on c (N, C) if the model is conditional."""
        return self.pictures._render(z, None, c)

    def names(self) -> list[str]:
        """Names of this run and the others: the folder, with its parent if two would be equal."""
        paths = [vae.run.path for vae in (self.vae, *self.others)]
        short = [path.name for path in paths]
        if len(set(short)) == len(short):
            return short
        return [f"{path.resolve().parent.name}/{path.name}" for path in paths]

    @cached_property
    def reports(self) -> list[dict[str, Any]]:
        """Evaluations of this run and the others: one per rate for variable-rate runs, else one."""
        vaes = (self.vae, *self.others)
        return [row for name, vae in zip(self.names(), vaes, strict=True) for row in self._reports(name, vae)]

    def _reports(self, name: str, vae: PretrainedVAE) -> Iterator[dict[str, Any]]:
        how: dict[str, Any] = {"samples": self.samples, "examples": self.examples, "progress": self.progress}
        if not is_variable_rate(vae.vae.latent):
            yield {"variant": name, **_select_report(vae.evaluate(**how))}
            return
        for nats in resolve_rates(vae.vae.latent, self.rates):
            yield {
                "variant": name,
                "dial": name,
                "nats": nats,
                **_select_report(vae.evaluate(rate=nats, **how)),
            }

    @cached_property
    def needs(self) -> list[dict[str, Any]]:
        """Minimum rates of the evaluation examples in nats, the lowest first."""
        data = load_inputs(self.vae, None, self.examples)
        return [vars(need) for need in find_minimum_rates(self.vae, data, self.wanted)]

    @cached_property
    def quality(self) -> list[dict[str, Any]]:
        """Sample quality at each rate, and of real sentences (`nats` None).

        Raises:
            UserError: not a variable-rate text run, or no language model among the others.
        """
        scorer = next((vae for vae in self.others if not vae.latent_dim), None)
        if not isinstance(self.vae, TextVAE) or not isinstance(scorer, TextVAE):
            raise UserError("sample-quality needs a text run and a language model: give its run by --with")
        rates = resolve_rates(self.vae.vae.latent, self.rates)
        made = (sample_quality(self.vae.with_rate(nats), scorer, self.draws, self.seed) for nats in rates)
        found = [{"nats": nats, **row} for nats, row in zip(rates, made, strict=True)]
        return [*found, {"nats": None, **real_quality(self.vae, scorer, self.draws, self.seed)}]


def _select_report(report: dict[str, Any]) -> dict[str, Any]:
    return {key: report[key] for key in REPORT_KEYS if report.get(key) is not None}
