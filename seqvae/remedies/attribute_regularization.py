"""Attribute regularisation: a latent dim is trained to order examples by an attribute.

Shapes: B examples, D latent dims, L labels.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.distributed.batch_shards import all_gather_rows
from seqvae.errors import UserError, suggest
from seqvae.interfaces import Batch, Remedy, RunContext
from seqvae.interfaces.outputs import VAEOutput

LENGTH = "length"  # number of predicted tokens, available without a label


def ordering_loss(z: Tensor, attribute: Tensor, delta: float) -> Tensor:
    """Mean over pairs i < j of |tanh(delta (z_i - z_j)) - sign(a_i - a_j)|, ().

    Args:
        z: values (B,) of one latent dim.
        attribute: values (B,) of the attribute; pairs with a NaN are ignored.
        delta: slope of the tanh.

    Returns:
        The loss (), 0 if no pair is left.
    """
    i, j = torch.triu_indices(len(z), len(z), offset=1, device=z.device)
    difference = attribute[i] - attribute[j]
    known = ~difference.isnan()  # masked, not indexed: a captured update needs fixed shapes
    error = torch.tanh(delta * (z[i] - z[j])) - torch.sign(difference)
    return torch.where(known, error.abs(), 0.0).sum() / known.sum().clamp(min=1)


class AttributeRegularization(Remedy):
    """weight x `ordering_loss` for each dim named in `attributes`, {dim: label}.

    Args:
        attributes: a label per regularised dim: one of `data.labels`, or `length`, which every text has. By
            default dim 0 gets the length, or for images the first label.
        weight: factor of the loss.
        delta: slope of the tanh; the larger, the smaller the distance between codes of different attributes.
    """

    paper = "Pati & Lerch, Attribute-based Regularization of Latent Spaces for Variational Auto-Encoders"
    year = 2020

    def __init__(
        self,
        attributes: dict[Annotated[int, Field(ge=0)], str] | None = None,
        weight: Annotated[float, Field(ge=0)] = 10.0,
        delta: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        self.attributes = attributes
        self.weight, self.delta = weight, delta
        self.columns: dict[int, int | None] = {}  # dim -> column of batch.labels, None for the length

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Find the columns of the labels.

        Raises:
            UserError: a dim or a label does not exist.
        """
        first = LENGTH if facts.vocab_size is not None else next(iter(facts.labels), LENGTH)
        for dim, name in (self.attributes or {0: first}).items():
            if dim >= facts.latent_dim:
                raise UserError(
                    f"remedy 'attribute_regularization' got dim {dim} for {name!r}, the code has "
                    f"{facts.latent_dim}: give dims from 0, or a larger latent.dim"
                )
            self.columns[dim] = self._find_column(name, facts)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: Batch) -> dict[str, Tensor]:
        """The weighted sum over attributes of the mean over all pairs in the global batch."""
        z = all_gather_rows(out.z[0])
        losses = [z.new_zeros(())]
        for dim, column in self.columns.items():
            attribute = batch.target_counts.to(z) if column is None else batch.labels[:, column]
            losses.append(ordering_loss(z[:, dim], all_gather_rows(attribute), self.delta))
        return {"attribute_regularization": self.weight * torch.stack(losses).sum()}

    def _find_column(self, name: str, facts: RunContext) -> int | None:
        if name in facts.labels:
            return facts.labels.index(name)
        if name == LENGTH and facts.vocab_size is not None:
            return None
        known = {*facts.labels, *([LENGTH] if facts.vocab_size is not None else [])}
        raise UserError(
            f"remedy 'attribute_regularization' got the label {name!r}, which is not in data.labels: "
            f"{suggest(name, known)}"
        )
