"""Selection and encoding of a source's label columns for a run.

Shapes: N images, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from seqvae.data.image.columns import Column
from seqvae.data.image.image_store import ImageStore
from seqvae.data.image.readers import RawImages
from seqvae.data.labels import Categories
from seqvae.errors import UserError, suggest


def align_labels(
    loaded: RawImages,
    names: Sequence[str],
    categories: Categories | None,
    strict: str | None,
    columns: Mapping[str, str] | None = None,
) -> ImageStore:
    """The images with the labels `names` (N, L), read from `columns` {label: column} or the same names.

    Categories are numbered as in `categories`, if given; an empty list means a number. An unknown category,
    and a value that is not finite, is a missing label.

    Raises:
        UserError: the source lacks a label, and `strict` (its name for the message) is not None.
    """
    wanted = {name: (columns or {}).get(name, name) for name in names}
    found = {name: _column(loaded, column, strict) for name, column in wanted.items()}
    known = {name: column.names for name, column in found.items() if column.names}
    if categories is not None:
        known = {name: tuple(categories.get(name, ())) for name in names if name in categories}
    values, lost = [], {}
    for name, column in found.items():
        numbered, strange = _number_classes(column, known[name]) if name in known else (column.values, ())
        numbered = np.where(np.isfinite(numbered), numbered, np.nan)
        if strange:
            rows = int(np.isnan(numbered).sum() - np.isnan(column.values).sum())
            lost[name] = f"{rows:,} unknown to training: {', '.join(map(repr, strange[:3]))}"
        values.append(numbered)
    labels = np.stack(values, 1) if values else np.zeros((len(loaded.pixels), 0))
    return ImageStore(
        loaded.pixels,
        labels.astype(np.float32),
        tuple(names),
        loaded.places,
        {name: each for name, each in known.items() if each},
        loaded.broken,
        loaded.total,
        loaded.ids,
        loaded.bits,
        lost,
    )


def _column(loaded: RawImages, name: str, strict: str | None) -> Column:
    if name in loaded.labels:
        return loaded.labels[name]
    if strict is not None:
        raise UserError(f"{strict} has no label {name!r}: {suggest(name, loaded.labels)}")
    return Column(np.full(len(loaded.pixels), np.nan, np.float32))


def _number_classes(column: Column, names: Sequence[str]) -> tuple[npt.NDArray[np.float32], list[str]]:
    """The values (N,) encoded as in training, NaN if unknown, and the unknown names.

    Without `names` they are numbers, with true and false as 1 and 0.
    """
    if not names:
        if column.names in ((), ("false", "true")):
            return column.values, []
        place = {name: number_in(name) for name in column.names}
    else:
        place = {name: float(i) for i, name in enumerate(names)}
    spelled = column.names or tuple(dict.fromkeys(f"{v:g}" for v in column.values if not np.isnan(v)))
    codes = column.values if column.names else _places(column.values, spelled)
    strange = [name for name in spelled if np.isnan(place.get(name, np.nan))]
    table = np.array([*(place.get(name, np.nan) for name in spelled), np.nan])
    rows = np.where(np.isnan(codes), len(spelled), np.nan_to_num(codes)).astype(np.int64)
    return table[rows].astype(np.float32), strange


def _places(values: npt.NDArray[np.float32], spelled: Sequence[str]) -> npt.NDArray[np.float32]:
    place = {name: float(i) for i, name in enumerate(spelled)}
    return np.array([np.nan if np.isnan(v) else place[f"{v:g}"] for v in values], np.float32)


def number_in(name: str) -> float:
    """The number written as `name`, or NaN."""
    try:
        return float(name)
    except ValueError:
        return float("nan")
