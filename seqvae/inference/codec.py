"""Base class of trained models: encode, decode, paths between codes, default rate and labels.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from seqvae.distributed.collectives import map_sharded
from seqvae.errors import UserError
from seqvae.inference.given import as_codes, as_count, as_examples
from seqvae.inference.hub import RunFolder
from seqvae.interfaces import Batch
from seqvae.models.sampling import (
    Condition,
    Rate,
    choose_codes,
    interpolate_codes,
    make_label_columns,
    make_rate_features,
    with_condition,
    with_conditions,
    with_own_labels,
    with_rate,
)
from seqvae.models.sampling import Path as CodePath
from seqvae.runs.run_folder import Run
from seqvae.utils.progress import tracked


class LatentCodec(RunFolder, library_name="seqvae"):
    """A trained VAE that encodes and decodes; subclasses turn the examples of a modality into batches."""

    modality: ClassVar[str]

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        if run.config.modality != self.modality:
            raise UserError(f"{run.path} holds a model of {run.config.modality}, not of {self.modality}")
        super().__init__(run, device)
        self.vae = run.vae.to(self.device)

    @property
    def latent_dim(self) -> int:
        """D, or 0 for a language model without a code."""
        return self.vae.latent.dim

    def encode(
        self,
        examples: Sequence[Any],
        sample: bool = False,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
    ) -> Tensor:
        """Encode examples. A collective under torchrun: call it on every rank, each encodes its shard.

        The noise of a sample is keyed by (seed, content of the example), so that it does not depend on the
        other examples or their order; an example that is given n times gets n different samples.

        Args:
            examples: N sentences, or images, or vectors for a run that encodes vectors.
            sample: draw z ~ q(z|x) instead of the posterior mean (mode).
            seed: seed of the samples.
            rate: nats per code of a variable-rate run, one number or N; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of N.

        Returns:
            Codes (N, D) fp32 on the CPU.

        Raises:
            UserError: an example that cannot be read, a model without a code, a rate out of its range, or
                labels that are missing or unknown.
        """
        return self._encode(examples, sample, seed, rate, condition)[0]

    @torch.no_grad()
    def _encode(
        self,
        examples: Sequence[Any],
        sample: bool = False,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        repeats_differ: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Codes (N, D) of the examples, and their conditions c (N, C) or None."""
        self._require_code()
        examples = as_examples(examples)
        vae = self.vae if condition is None else with_own_labels(self.vae)

        def coded(batch: Batch) -> tuple[Tensor, Tensor | None]:
            return choose_codes(vae.posterior(batch), batch, sample), vae.condition(batch)

        asked = self.conditioned_batches(examples, seed, rate, condition, repeats_differ)
        work = tracked(coded, len(examples), "encoding", lambda batch: batch.size)
        parts = map_sharded(list(asked), work, self.device)
        conditions = [c for _, c in parts if c is not None]
        found = torch.cat([torch.zeros(0, self.latent_dim, device=self.device), *(z for z, _ in parts)])
        return found.cpu(), torch.cat(conditions).cpu() if conditions else None

    def conditioned_batches(
        self,
        examples: Sequence[Any],
        seed: int,
        rate: Rate,
        condition: Condition | None,
        repeats_differ: bool = False,
    ) -> Iterator[Batch]:
        """The user's examples as batches that carry their labels and rates."""
        examples = as_examples(examples)
        n = len(examples)
        labels, rates = make_label_columns(self.vae, condition, n), make_rate_features(self.vae, rate, n)
        return with_conditions(self._batches(examples, seed, repeats_differ), labels, rates)

    def path(self, a: Any, b: Any, steps: int = 8, path: CodePath = "linear") -> Tensor:
        """Codes (steps, D) from the code of `a` to that of `b`, both included.

        Args:
            a: an example.
            b: another one.
            steps: number of codes.
            path: `linear` interpolation, or `slerp` along the great arc.

        Raises:
            UserError: fewer than two steps.
        """
        if (steps := as_count("steps", steps)) < 2:
            raise UserError(f"steps got {steps}: a path has at least its 2 ends")
        ends: Tensor = self.encode([a, b])
        return interpolate_codes(ends[0], ends[1], steps, path)

    def with_defaults(self, rate: float | None = None, condition: Condition | None = None) -> Self:
        """Apply `with_rate` and `with_condition`, each if it is given.

        Raises:
            UserError: as these.
        """
        vae = self if rate is None else self.with_rate(rate)
        return vae if condition is None else vae.with_condition(condition)

    @abstractmethod
    def decode(self, z: Any) -> Any:
        """Decode codes (N, D) to examples."""

    def with_rate(self, nats: float) -> Self:
        """The same model with another default rate, in nats, which all its methods then use.

        Raises:
            UserError: a rate outside the trained range, or not a variable-rate run.
        """
        return type(self)(replace(self.run, vae=with_rate(self.vae, nats)), self.device)

    def with_condition(self, condition: Condition) -> Self:
        """The same model with fixed labels {label: value}, which all its methods then use.

        Raises:
            UserError: labels that do not match those it was trained with, or it was trained with none.
        """
        return type(self)(replace(self.run, vae=with_condition(self.vae, condition)), self.device)

    @abstractmethod
    def _batches(self, examples: Sequence[Any], seed: int, repeats_differ: bool = False) -> Iterator[Batch]:
        """The user's examples as batches on the device, with noise keyed by content.

        The same example given again has the same noise, unless `repeats_differ`.
        """

    def _codes(self, z: Any) -> Tensor:
        """Check the user's codes (N, D).

        Raises:
            UserError: codes of another size, or with NaN or infinite values.
        """
        return as_codes(z, self.latent_dim)

    def _require_code(self) -> None:
        if not self.latent_dim:
            raise UserError("this run is a language model (latent: none): it has no code to encode into")
