"""The direction of an attribute in code space, how surely held-out sentences show it, and a check for it.

Shapes: N codes of one group, M codes of the other, D latent dims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.errors import UserError

FOLDS = 5
SHRINKAGE = 0.1  # of the covariance towards a multiple of the identity: groups are often smaller than D


@dataclass(frozen=True)
class Direction:
    """From the codes of one group to those of another, and the linear classifier between them.

    Attributes:
        step: (D,) mean code of the one group - mean code of the other, as Larsen et al. 2016.
        weight: (D,) of the classifier: w = S^-1 step, S the shrunken covariance inside the groups.
        threshold: a code z belongs to the group ahead where w z > threshold.
        gap: w step > 0, by how much the score of the group ahead is higher.
        accuracy: share of held-out sentences on their own side (the mean of both groups); None for groups
            of fewer than 2 sentences, of which none can be held out.
        error: standard error of the accuracy.
        examples: how many sentences were held out once.
    """

    step: Tensor
    weight: Tensor
    threshold: float
    gap: float
    accuracy: float | None
    error: float | None
    examples: int

    @property
    def confidence(self) -> str:
        """The accuracy in one line, with a warning where it may be chance; empty where none was measured."""
        if self.accuracy is None or self.error is None:
            return ""
        share = f"{100 * self.accuracy:.1f} ± {100 * self.error:.1f} %"
        line = f"direction: {share} of {self.examples:,} held-out sentences lie on their own side"
        if self.accuracy - 2 * self.error > 0.6:
            return line
        return f"{line}: the code hardly separates the groups, so edits will change other things"

    def score(self, z: Tensor) -> Tensor:
        """(N,): 0 between the groups, 1/2 at the mean of the group ahead, -1/2 at that of the other."""
        return (z @ self.weight - self.threshold) / self.gap

    @property
    def lean_step(self) -> Tensor:
        """(D,): the shortest step that changes the score as much as `step` does."""
        return self.weight * (self.gap / self.weight.dot(self.weight))


def fit_direction(towards: Tensor, away: Tensor, folds: int = FOLDS) -> Direction:
    """The direction from codes `away` (M, D) to codes `towards` (N, D), judged on held-out codes.

    Each code is classified once by a direction that was fitted without it (cross-validation).

    Raises:
        UserError: one of the groups is empty, or both have the same mean.

    Example:
        >>> ahead, behind = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
        >>> found = fit_direction(ahead, behind)
        >>> found.step, found.accuracy
        (tensor([1., 0.]), 1.0)
    """
    for name, group in (("towards", towards), ("away", away)):
        if not len(group):
            raise UserError(f"`{name}` holds no sentence: give some of those that have what is to change")
    step, weight, threshold = _fit(towards, away)
    gap = float(step @ weight)
    if not gap > 0:
        raise UserError("both groups have the same mean code: there is no direction between them")
    accuracy, error, n = _cross_validate(towards, away, folds)
    return Direction(step, weight, threshold, gap, accuracy, error, n)


def _fit(towards: Tensor, away: Tensor) -> tuple[Tensor, Tensor, float]:
    """Step (D,), weight (D,) and threshold of linear discriminant analysis with a shrunken covariance."""
    ahead, behind = towards.mean(0), away.mean(0)
    step = ahead - behind
    centred = torch.cat([towards - ahead, away - behind]).double()
    covariance = centred.T @ centred / max(1, len(centred) - 2)
    size = covariance.diagonal().mean().clamp(min=1e-12)
    identity = torch.eye(len(step), dtype=torch.float64)
    shrunken = (1 - SHRINKAGE) * covariance + SHRINKAGE * size * identity
    weight = torch.linalg.solve(shrunken, step.double()).to(step.dtype)
    return step, weight, float(weight @ (ahead + behind) / 2)


def _cross_validate(towards: Tensor, away: Tensor, folds: int) -> tuple[float | None, float | None, int]:
    """Accuracy on held-out codes, the mean of both groups, its standard error, and how many codes."""
    smaller = min(len(towards), len(away))
    if smaller < 2:
        return None, None, 0
    folds = min(folds, smaller)
    right: tuple[list[Tensor], list[Tensor]] = ([], [])
    for fold in range(folds):
        held = [torch.arange(len(group)) % folds == fold for group in (towards, away)]
        _, weight, threshold = _fit(towards[~held[0]], away[~held[1]])
        right[0].append(towards[held[0]] @ weight > threshold)
        right[1].append(away[held[1]] @ weight <= threshold)
    shares = [torch.cat(group).double() for group in right]
    variance = sum(float(share.mean() * (1 - share.mean())) / len(share) for share in shares) / 4
    return float(sum(share.mean() for share in shares)) / 2, math.sqrt(variance), sum(map(len, shares))
