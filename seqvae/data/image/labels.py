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
from seqvae.data.label_columns import LabelColumn, LostLabels
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
    found = [
        _encode(name, _column(loaded, column, strict), (categories or {}).get(name))
        for name, column in wanted.items()
    ]
    labels = [codes for codes, _, _ in found]
    return ImageStore(
        loaded.pixels,
        np.stack(labels, 1) if labels else np.zeros((len(loaded.pixels), 0), np.float32),
        tuple(names),
        loaded.places,
        {name: known for name, (_, known, _) in zip(names, found, strict=True) if known},
        loaded.broken,
        loaded.total,
        loaded.ids,
        loaded.bits,
        {name: lost for name, (_, _, lost) in zip(names, found, strict=True)},
    )


def _column(loaded: RawImages, name: str, strict: str | None) -> Column:
    if name in loaded.labels:
        return loaded.labels[name]
    if strict is not None:
        raise UserError(f"{strict} has no label {name!r}: {suggest(name, loaded.labels)}")
    return Column(np.full(len(loaded.pixels), np.nan, np.float32))


def _encode(
    name: str, column: Column, known: Sequence[str] | None
) -> tuple[npt.NDArray[np.float32], Sequence[str], LostLabels]:
    """The codes (N,) of a label, the names that they are indices into, and how many are missing.

    If `known` lists the names of training, codes are indices into it; if it is empty they are numbers; if it
    is None the column's own names count.
    """
    if known is None or tuple(known) == column.names:
        missing = int(np.isnan(column.values).sum())
        return column.values, column.names, LostLabels(missing)
    encoder = LabelColumn(name, known)
    return encoder.codes(column.written), known, encoder.lost
