"""Data sets with a column of pictures: saved by `datasets`, or on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.data.image.file_decoding import EncodedImage
from seqvae.errors import UserError, suggest


def iter_images(dataset: Any, column: str, where: str) -> Iterator[EncodedImage]:
    """The pictures of a column, each opened when asked.

    Raises:
        UserError: no such column, or none of pictures.
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


def read_label_columns(
    dataset: Any, rows: npt.NDArray[np.int64]
) -> dict[str, tuple[npt.NDArray[np.float32], tuple[str, ...]]]:
    """Every column of numbers or classes: its values at `rows`, and the classes' names."""
    import datasets

    found = {}
    for name, feature in dataset.features.items():
        if isinstance(feature, datasets.ClassLabel):
            names = tuple(feature.names)
        elif isinstance(feature, datasets.Value) and feature.dtype.startswith(
            ("int", "uint", "float", "bool")
        ):
            names = ()
        else:
            continue
        column = dataset.select_columns([name]).to_dict()[name]
        values = np.array([np.nan if v is None else v for v in column], np.float32)[rows]
        found[name] = (np.where(values < 0, np.nan, values) if names else values, names)  # -1: unknown class
    return found


def _open_image(stored: dict[str, Any]) -> Any:
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"])
    picture.load()
    return picture
