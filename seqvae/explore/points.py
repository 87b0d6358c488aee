"""The codes of the evaluation examples, and what each of them can be coloured by.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import (
    EvaluationPass,
    PerExample,
    ProgressCallback,
    evaluation_mode,
    run_evaluation_pass,
)
from seqvae.inference import ImageVAE, PretrainedVAE, TextVAE
from seqvae.inference.inputs import Inputs, load_inputs, load_store
from seqvae.interfaces import Batch, Posterior

MOST_KINDS = 24  # whole numbers of more different values are shown as a quantity


@dataclass(frozen=True)
class Column:
    """A value of each example: a number with its unit, or one of some kinds (`names`)."""

    name: str
    values: Tensor  # (N,), NaN where it is missing
    unit: str = ""
    names: tuple[str, ...] = ()

    @property
    def is_kind(self) -> bool:
        """Whether the values are the places of kinds in `names`."""
        return bool(self.names)


@dataclass(frozen=True)
class Points:
    """N examples in the order of their data set; the posteriors are in another one, see `own`."""

    where: str  # the split or file
    inputs: Inputs
    mean: Tensor  # (N, D)
    z: Tensor  # (N, D), one sample of each posterior
    kl_per_dim: Tensor  # (D,) nats; variances of the means where there is no KL
    posteriors: Sequence[Posterior]
    own: Tensor  # (N,): which of the posteriors is that of an example
    columns: dict[str, Column]
    batches: Sequence[Batch]
    has_density: bool  # whether q(z|x) has one

    @property
    def n(self) -> int:
        """N."""
        return len(self.mean)

    @property
    def labels(self) -> list[Column]:
        """The columns that are labels of the data."""
        return [column for column in self.columns.values() if column.name not in MEASURED]


MEASURED = ("rate", "-ELBO")


def load_points(
    vae: PretrainedVAE, data: str | None, examples: int, progress: ProgressCallback | None = None
) -> Points:
    """Encode and score the evaluation split of a run, or a file: one sample per example.

    Raises:
        UserError: the data cannot be read.
    """
    names = tuple(vae.run.config.data.labels or (vae.embedded_factors if data is None else ()))
    labelled: Any = vae.with_labels(names)
    where, batches, _ = labelled.evaluation_inputs(data, 64, examples)
    with evaluation_mode(vae.vae):
        found = run_evaluation_pass(EvaluationPass(vae.vae, batches, progress), 1, lambda batch: 1)
    index = torch.cat([batch.index for batch in batches]).cpu()
    own = index.argsort()
    kinds = load_store(labelled, data).categories
    labels = torch.cat([batch.labels for batch in batches]).cpu()[own]  # (N, L)
    made = [_label(name, labels[:, i], kinds.get(name, ())) for i, name in enumerate(names)]
    lengths = torch.cat([batch.target_counts for batch in batches]).cpu()[own]
    if vae.modality == "text" and "length" not in names:
        made.append(Column("length", lengths.float(), "tokens"))
    return Points(
        where=where,
        inputs=load_inputs(vae, data, examples),
        mean=found["mean"][own].float(),
        z=found["z"][own].float(),
        kl_per_dim=_kl_per_dim(found),
        posteriors=found.posteriors,
        own=own,
        columns={column.name: column for column in [*_measured(found, own), *made]},
        batches=batches,
        has_density="kl" in found,
    )


def _measured(found: PerExample, own: Tensor) -> list[Column]:
    if "kl" not in found:
        return [Column("distortion", found["distortion"][own], "nats")]
    rate = found["kl"].sum(-1)
    return [Column("rate", rate[own], "nats"), Column("-ELBO", (rate + found["distortion"])[own], "nats")]


def _kl_per_dim(found: PerExample) -> Tensor:
    if "kl" in found and found["kl"].shape[1] == found.dim:
        return found["kl"].mean(0)
    return found["mean"].double().var(0)


def _label(name: str, values: Tensor, kinds: Sequence[str]) -> Column:
    """A label as a column: kinds that have names, or few whole numbers, else a quantity."""
    if kinds:
        return Column(name, values, names=tuple(kinds))
    known = values[~values.isnan()]
    different = torch.unique(known)
    if 2 <= len(different) <= MOST_KINDS and bool((different == different.round()).all()):
        places = torch.searchsorted(different, values.nan_to_num(float(different[0])))
        placed = places.float().masked_fill(values.isnan(), float("nan"))
        return Column(name, placed, names=tuple(f"{value:g}" for value in different.tolist()))
    return Column(name, values)


def require_code(vae: PretrainedVAE) -> None:
    """Refuse runs that the page has nothing to show of.

    Raises:
        UserError: a model without a code, or one conditioned on labels that are not fixed.
    """
    path, labels = vae.run.path, vae.vae.labels
    if not isinstance(vae, TextVAE | ImageVAE):
        raise UserError(f"{path} is a run of {vae.modality}: the page shows runs of text and of images")
    if not vae.latent_dim:
        raise UserError(f"{path} is a language model (latent: none): it has no code to explore")
    if labels is not None and not labels.fixed and vae.vae.classifier is None:
        names = ", ".join(label.name for label in labels.specs)
        raise UserError(f"{path} is conditioned on labels ({names}): fix each with --condition LABEL=VALUE")
