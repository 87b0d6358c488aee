"""Traversals of a code along one dim or one attribute.

Shapes: N evaluation examples, D latent dims, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from seqvae.build import attribute_dims
from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import EvaluationPass, evaluation_mode, run_evaluation_pass
from seqvae.inference import PretrainedVAE
from seqvae.models.latent_directions import attribute_direction, step_along, traverse_dim
from seqvae.models.sampling import sample_prior


@dataclass(frozen=True)
class Traversal:
    """The dim or attribute to change, and its values: absolute for a dim, relative for an attribute."""

    dim: int | None = None
    attribute: str | None = None
    low: float = -3.0
    high: float = 3.0
    steps: int = 7

    @property
    def amounts(self) -> Tensor:
        """Values (T,), from `low` to `high`."""
        return torch.linspace(self.low, self.high, self.steps)


def traverse(
    vae: PretrainedVAE, example: Any, move: Traversal, examples: int = 2000, seed: int = 0
) -> Tensor:
    """Codes (T, D): the code of `example`, or a prior sample if None, changed along a dim or attribute.

    A dim is set to each value. An attribute is changed by `amounts` times its standard deviation over the
    evaluation examples, along the direction in code space that raises it (`attribute_direction`). If
    training made a dim carry it (`regularised_dim`), only that dim changes, by `amounts` times its own
    deviation.

    Raises:
        UserError: not one of dim and attribute, no such dim or attribute, or a model without a code.
    """
    if (move.dim is None) == (move.attribute is None):
        raise UserError("give --dim N or --attribute NAME, exactly one of the two")
    z = sample_prior(vae.vae, 1, seed).cpu() if example is None else vae.encode([example])
    if move.dim is not None:
        return traverse_dim(z, move.dim, move.low, move.high, move.steps)[0]
    assert move.attribute is not None
    _, batches, _ = vae.evaluation_inputs(None, 64, examples)
    values, dim = vae.attribute(batches, move.attribute), regularised_dim(vae, move)
    with evaluation_mode(vae.vae):
        codes = run_evaluation_pass(EvaluationPass(vae.vae, batches), 1, lambda batch: 1)["mean"]
    if dim is None:
        step = attribute_direction(codes, values) * values[~values.isnan()].std()
    else:
        step = one_hot(torch.tensor(dim), codes.shape[1]) * codes[:, dim].std()
    return step_along(z, step, move.amounts)[0]


def regularised_dim(vae: PretrainedVAE, move: Traversal) -> int | None:
    """The dim that training made carry the attribute by the config's `attributes`, or None."""
    return None if move.attribute is None else attribute_dims(vae.run.config).get(move.attribute)
