"""The attributes that can be moved: labels of the data and groups of typed texts, each with its direction.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from seqvae.build import attribute_dims
from seqvae.errors import UserError
from seqvae.explore.points import Column, Points
from seqvae.explore.requests import Move
from seqvae.explore.session import Explorer
from seqvae.inference.directions import Direction, fit_direction

MOST_KINDS = 12  # kinds of a label that become attributes of their own
KEPT = 128  # directions, at most, that a page remembers


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
    if move.towards is not None and move.away is not None:
        if not explorer.reads_texts:
            raise UserError("this run reads no typed text: choose a label instead")
        codes = explorer.vae.encode([*move.towards, *move.away])
        return fit_direction(codes[: len(move.towards)], codes[len(move.towards) :])
    assert move.label is not None
    codes = explorer.points.mean
    high, low = split_by_value(attribute_values(explorer.points, move.label, move.kind))
    dim = attribute_dims(explorer.vae.run.config).get(move.label) if move.kind is None else None
    if dim is None:
        return fit_direction(codes[high], codes[low])
    return _in_dim(fit_direction(codes[high][:, [dim]], codes[low][:, [dim]]), dim, codes.shape[1])


def split_by_value(values: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (N,) of the examples with the larger values and of the others: two kinds, or above the median.

    Examples whose value is unknown (NaN) are in neither.

    Raises:
        UserError: fewer than two values.

    Example:
        >>> split_by_value(torch.tensor([3.0, 1.0, float("nan"), 2.0, 9.0]))[0]
        tensor([ True, False, False, False,  True])
    """
    known = values[~values.isnan()]
    if len(torch.unique(known)) < 2:
        raise UserError("the label has no two values among the examples: there is no direction to find")
    border = known.median()  # of two middle values the lower one
    above = values > border if bool((known > border).any()) else values >= border
    return above, ~above & ~values.isnan()


def _in_dim(found: Direction, dim: int, size: int) -> Direction:
    """A direction in the one dim that training tied to the attribute, among all D dims."""
    place = torch.eye(size)[dim]
    return replace(found, step=place * found.step, weight=place * found.weight)


def without_kept(change: Tensor, kept: Sequence[Tensor]) -> Tensor:
    """The part of a change (D,) that is orthogonal to the kept weights (D,), so that their scores stay.

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
