"""Image columns and labels of data sets saved by `datasets` or on the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.data.image.columns import Column, typed_column
from seqvae.data.image.file_decoding import EncodedImage
from seqvae.errors import UserError, suggest


def iter_images(dataset: Any, column: str, where: str) -> Iterator[EncodedImage]:
    """The images of a column, opened lazily.

    Raises:
        UserError: no such column, or not a column of images.
    """
    import datasets

    if column not in dataset.column_names:
        known = suggest(column, dataset.column_names)
        raise UserError(f"{where} has no column {column!r}: set data.image_column; {known}")
    if not isinstance(dataset.features[column], datasets.Image):
        raise UserError(f"{where}: column {column!r} holds no pictures but {dataset.features[column]}")
    rows = dataset.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return (
        EncodedImage(f"{where}, row {i}", partial(_open_image, row[column])) for i, row in enumerate(rows)
    )


def read_label_columns(dataset: Any, rows: npt.NDArray[np.int64], wanted: Sequence[str]) -> dict[str, Column]:
    """Label columns at `rows`: all numbers and classes, and string columns (which may be long) if `wanted`.

    Raises:
        UserError: a string column with too many distinct values for a label.
    """
    import datasets

    found = {}
    for name, feature in dataset.features.items():
        named = isinstance(feature, datasets.ClassLabel)
        kind = feature.dtype if isinstance(feature, datasets.Value) else ""
        texts = kind.startswith(("string", "large_string"))
        if not (named or kind.startswith(("int", "uint", "float", "bool")) or (texts and name in wanted)):
            continue
        values = dataset.select_columns([name]).to_dict()[name]
        kept = [values[row] for row in rows]
        if named:  # -1 is an unknown class
            known = [None if v is None or v < 0 else feature.names[v] for v in kept]
            found[name] = _classes(known, tuple(feature.names))
        elif (column := typed_column(kept, name)) is not None:
            found[name] = column
    return found


def _classes(values: Sequence[str | None], names: tuple[str, ...]) -> Column:
    place = {name: float(i) for i, name in enumerate(names)}
    return Column(np.array([np.nan if v is None else place[v] for v in values], np.float32), names)


def column_values(dataset: Any, column: str, where: str) -> tuple[Any, ...]:
    """All values of a column.

    Raises:
        UserError: no such column.
    """
    if column not in dataset.column_names:
        known = suggest(column, dataset.column_names)
        raise UserError(f"{where} has no column {column!r}: {known}; --id-column names it")
    return tuple(dataset.select_columns([column]).to_dict()[column])


def _open_image(stored: dict[str, Any]) -> Any:
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"])
    picture.load()
    return picture
