"""Directions of attributes in code space, and how well they order held-out examples.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from seqvae.build import attribute_dims
from seqvae.errors import UserError
from seqvae.explore.points import Column, Points
from seqvae.explore.requests import Move
from seqvae.explore.session import Explorer
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latent_directions import attribute_direction

FOLDS = 5
MOST_KINDS = 12  # kinds of a label that become attributes of their own
FEWEST = 3  # examples of each side from which a direction is tested
KEPT = 128  # directions, at most, that a page remembers
COMPARED = 1000  # held-out examples, at most, of which all pairs are compared

Fit = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Direction:
    """A step in code space (D,), whose strength 1 is a deviation of the label or the way between two groups.

    `confidence` is the probability that of two held-out examples with different values the one with the
    larger value lies further along the step (.5: by chance, 1: always); None for too few examples.
    """

    step: Tensor
    confidence: float | None
    n: int


def held_out_confidence(codes: Tensor, values: Tensor, fit: Fit, seed: int = 0) -> float | None:
    """The confidence of `Direction`: each of 5 folds is projected on the step fitted to the others.

    Args:
        codes: (N, D).
        values: (N,), NaN where unknown.
        fit: codes and values to a step (D,).
        seed: of the folds.

    Example:
        >>> codes = torch.arange(40.0)[:, None]
        >>> held_out_confidence(codes, (codes[:, 0] > 20).float(), attribute_direction)
        1.0
    """
    known = ~values.isnan()
    codes, values = codes[known], values[known]
    if min(_sides(values)) < FEWEST:
        return None
    order = KeyedNoise(seed, 0, torch.arange(len(codes))).uniform("folds").argsort(stable=True)
    order = order[values[order].argsort(stable=True)]  # every fold has all values
    projected = codes.new_zeros(len(codes))
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        rest = torch.ones(len(codes), dtype=torch.bool).index_fill(0, held, False)
        if len(torch.unique(values[rest])) < 2:
            return None
        step = fit(codes[rest], values[rest])
        projected[held] = (codes[held] - codes[rest].mean(0)) @ step / step.norm().clamp(min=1e-12)
    return _concordance(projected, values)


def _sides(values: Tensor) -> tuple[int, int]:
    """How many examples lie at the lowest value and above it."""
    low = int((values == values.min()).sum()) if len(values) else 0
    return (
        (low, len(values) - low) if len(torch.unique(values)) == 2 else (len(values) // 2, len(values) // 2)
    )


def _concordance(projected: Tensor, values: Tensor) -> float | None:
    """The share of pairs with different values that the projection orders alike; ties count half."""
    if len(values) > COMPARED:
        rows = torch.linspace(0, len(values) - 1, COMPARED).long()
        projected, values = projected[rows], values[rows]
    more = values[:, None] > values[None]
    apart = projected[:, None] - projected[None]
    right = (apart > 0).double() + 0.5 * (apart == 0).double()
    return float(right[more].mean()) if bool(more.any()) else None


def mean_difference(codes: Tensor, values: Tensor) -> Tensor:
    """(D,): mean code of the larger of two values minus that of the smaller."""
    high = values == values.max()
    return codes[high].mean(0) - codes[~high].mean(0)


def attribute_values(points: Points, label: str, kind: str | None) -> Tensor:
    """A label of each example (N,), or whether it is of one kind.

    Raises:
        UserError: no such label or kind.
    """
    column = {column.name: column for column in points.labels}.get(label)
    if column is None:
        known = ", ".join(column.name for column in points.labels) or "none"
        raise UserError(f"no label {label[:40]!r}: the data have {known}")
    if kind is None:
        return column.values
    if kind not in column.names:
        raise UserError(f"label {label!r} has no kind {kind[:40]!r}: it has {', '.join(column.names)}")
    missing = column.values.isnan()
    return (column.values == column.names.index(kind)).float().masked_fill(missing, float("nan"))


def list_attributes(points: Points) -> list[dict[str, Any]]:
    """What can be moved: labels that are numbers or have two kinds, and each kind of the others."""
    found: list[dict[str, Any]] = []
    for column in points.labels:
        if len(torch.unique(column.values[~column.values.isnan()])) < 2:
            continue
        if len(column.names) > 2:
            found += [{"label": column.name, "kind": kind} for kind in _shown_kinds(column)]
        else:
            ends = list(column.names) if column.names else None
            found.append({"label": column.name, "kind": None, "ends": ends})
    return found


def _shown_kinds(column: Column) -> Sequence[str]:
    """The kinds of a label that examples have, the most frequent first where there are many."""
    counts = [int((column.values == i).sum()) for i in range(len(column.names))]
    shown = sorted(range(len(counts)), key=lambda i: -counts[i])[:MOST_KINDS]
    return [column.names[i] for i in sorted(shown) if counts[i]]


def find_direction(explorer: Explorer, move: Move) -> Direction:
    """The direction of a move; the last few that were asked for are kept.

    Raises:
        UserError: an unknown label, or one that the codes do not depend on.
        Pending: the codes are being computed.
    """
    key = (move.label, move.kind, *(tuple(g) if g is not None else None for g in (move.towards, move.away)))
    if key not in explorer.directions:
        while len(explorer.directions) >= KEPT:
            explorer.directions.pop(next(iter(explorer.directions)), None)
        explorer.directions[key] = _make_direction(explorer, move)
    found: Direction = explorer.directions[key]
    return found


def _make_direction(explorer: Explorer, move: Move) -> Direction:
    label, kind = move.label, move.kind
    if move.towards is not None and move.away is not None:
        return _between_groups(explorer, move.towards, move.away)
    assert label is not None
    points = explorer.points
    values = attribute_values(points, label, kind)
    dim = attribute_dims(explorer.vae.run.config).get(label) if kind is None else None
    known = ~values.isnan()

    def fit(codes: Tensor, given: Tensor) -> Tensor:
        if dim is not None:
            return one_hot(torch.tensor(dim), codes.shape[1]) * codes[:, dim].std()
        return attribute_direction(codes, given) * given[~given.isnan()].std()

    step = fit(points.mean, values)
    return Direction(step, held_out_confidence(points.mean, values, fit), int(known.sum()))


def _between_groups(explorer: Explorer, towards: Sequence[str], away: Sequence[str]) -> Direction:
    """From the mean code of one group of texts to that of another."""
    if not explorer.reads_texts:
        raise UserError("this run reads no typed text: choose a label instead")
    codes = explorer.vae.encode([*towards, *away])
    values = torch.tensor([1.0] * len(towards) + [0.0] * len(away))
    confidence = held_out_confidence(codes, values, mean_difference)
    return Direction(mean_difference(codes, values), confidence, len(values))


def without_kept(change: Tensor, kept: Sequence[Tensor]) -> Tensor:
    """The part of a change (D,) that is orthogonal to the kept directions (D,).

    An attribute is read along its direction, so that it does not change then.

    Example:
        >>> without_kept(torch.tensor([1.0, 1.0]), [torch.tensor([2.0, 0.0])])
        tensor([0., 1.])
    """
    if not kept:
        return change
    basis, _ = torch.linalg.qr(torch.stack([k / k.norm().clamp(min=1e-12) for k in kept], 1).double())
    x = change.double()
    left: Tensor = x - basis @ (basis.T @ x)
    return left.to(change)
