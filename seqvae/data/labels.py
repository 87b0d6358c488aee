"""Labels of training data: their statistics, and subsampling of labelled examples.

Shapes: N examples of a split, L columns of labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise

MOST_CLASSES = 64  # integers with more distinct values are numbers, not classes

Columns = npt.NDArray[np.float32]
Categories = Mapping[str, Sequence[str]]  # the names of the classes, per label


def hash_labels(names: Sequence[str], labels: Columns) -> dict[str, str]:
    """A hash of each column of labels (N, L), by which a run recognises its data."""
    return {
        f"label {name!r}": hashlib.blake2b(np.ascontiguousarray(column).tobytes(), digest_size=16).hexdigest()
        for name, column in zip(names, labels.T, strict=True)
    }


def label_statistics(name: str, values: Columns, names: Sequence[str] = ()) -> dict[str, Any]:
    """Statistics of a label from its training values (N,): `classes`, or `mean` and `sd`.

    Names are classes, and so are integers with at most `MOST_CLASSES` distinct values.

    Raises:
        UserError: fewer than two distinct values, which carry no information.
    """
    kept = values[np.isfinite(values)]
    different = np.unique(kept)
    if len(different) < 2:
        raise UserError(f"label {name!r} has no two values in training: leave it out of condition")
    if names:
        return {"classes": list(names)}
    if len(different) <= MOST_CLASSES and bool((different == np.round(different)).all()):
        return {"classes": [int(value) for value in different]}
    return {"mean": float(kept.mean(dtype=np.float64)), "sd": float(kept.std(dtype=np.float64))}


def subsample_labels(labels: Columns, keep: int, seed: int) -> Columns:
    """Labels (N, L) of which only `keep` random examples keep theirs; the others become NaN.

    Each class of the first label keeps equally many, as far as possible. The choice depends only on the seed.

    Raises:
        UserError: no labels, or fewer labelled examples than `keep`.
    """
    if not labels.shape[1]:
        raise UserError(f"data.num_labeled got {keep}, data.labels names no label to keep: name one")
    rows = np.flatnonzero(~np.isnan(labels).any(1))
    if keep > len(rows):
        raise UserError(
            f"data.num_labeled got {keep}, {len(rows)} of the training examples have labels: ask for less"
        )
    chance = KeyedNoise(seed, 0, torch.from_numpy(rows)).uniform("labelled").numpy()
    rows = rows[np.argsort(chance, kind="stable")]
    kept = np.full_like(labels, np.nan)
    chosen = rows[np.argsort(_occurrence_index(labels[rows, 0]), kind="stable")[:keep]]
    kept[chosen] = labels[chosen]
    return kept


def _occurrence_index(values: Columns) -> npt.NDArray[np.int64]:
    """(N,): number of equal values before each one: 0 for the first of each class, then 1 ..."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    turns = np.empty(len(values), np.int64)
    turns[order] = np.arange(len(values)) - np.repeat(starts, np.diff(np.r_[starts, len(values)]))
    return turns
