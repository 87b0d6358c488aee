"""From the columns that a source brings to the labels that a run asked for.

Shapes: N pictures, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from seqvae.data.image.image_store import ImageStore
from seqvae.data.image.readers import LabelColumn, RawImages
from seqvae.errors import UserError, suggest

Categories = Mapping[str, Sequence[str]]


def align_labels(
    loaded: RawImages, names: Sequence[str], categories: Categories | None, strict: str | None
) -> ImageStore:
    """The pictures with the labels `names` (N, L); categories are numbered as in `categories`, if given.

    Raises:
        UserError: where `strict` names the source, a label or a category that is not known.
    """
    columns = [_column(loaded, name, strict) for name in names]
    known = dict(categories or {}) or {n: c.names for n, c in zip(names, columns, strict=True) if c.names}
    values = [
        _numbered(c, known[n], n, strict) if c.names and n in known else c.values
        for n, c in zip(names, columns, strict=True)
    ]
    labels = np.stack(values, 1) if values else np.zeros((len(loaded.pixels), 0))
    kept = {name: tuple(known[name]) for name in names if name in known}
    return ImageStore(
        loaded.pixels, labels.astype(np.float32), tuple(names), loaded.places, kept, loaded.broken
    )


def _column(loaded: RawImages, name: str, strict: str | None) -> LabelColumn:
    if name in loaded.labels:
        return loaded.labels[name]
    if strict is not None:
        raise UserError(f"{strict} has no label {name!r}: {suggest(name, loaded.labels)}")
    return LabelColumn(np.full(len(loaded.pixels), np.nan, np.float32))


def _numbered(
    column: LabelColumn, names: Sequence[str], label: str, strict: str | None
) -> npt.NDArray[np.float32]:
    """The same categories, as places in `names`; an unknown one is missing."""
    place = {name: float(i) for i, name in enumerate(names)}
    strange = [name for name in column.names if name not in place]
    if strange and strict is not None:
        raise UserError(f"{strict}: training has no {label} {strange[0]!r}: {suggest(strange[0], names)}")
    table = np.array([*(place.get(name, np.nan) for name in column.names), np.nan])
    rows = np.where(np.isnan(column.values), len(column.names), np.nan_to_num(column.values)).astype(np.int64)
    return table[rows].astype(np.float32)
