"""Label columns of images: numbers, or indices of category names.

Shapes: N images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqvae.data.label_columns import MOST_CATEGORIES, too_many_names
from seqvae.data.values import Value, spell_number

_MOST = float(np.finfo(np.float32).max)  # labels are stored in fp32


class Column(NamedTuple):
    """A label of N images: numbers (NaN is missing), or indices into `names`."""

    values: npt.NDArray[np.float32]
    names: tuple[str, ...] = ()

    @property
    def written(self) -> list[Value]:
        """The values as a file has them: names, or numbers."""
        if not self.names:
            return [None if math.isnan(value) else value for value in self.values.tolist()]
        return [None if math.isnan(value) else self.names[int(value)] for value in self.values.tolist()]


def array_column(values: npt.NDArray[Any]) -> Column:
    """A column from an array (N,) of numbers, booleans or strings; values that are not finite are missing."""
    if values.dtype.kind == "b":
        return Column(values.astype(np.float32), ("false", "true"))
    if values.dtype.kind in "US":
        return names_column([str(v, "utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values])
    numbers = values.astype(np.float64)
    return Column(np.where(np.abs(numbers) <= _MOST, numbers, np.nan).astype(np.float32))


def names_column(values: Sequence[str | None]) -> Column:
    """A column of names, indexed in alphabetical order; None is missing."""
    names = tuple(sorted({value for value in values if value is not None}))
    place = {name: float(i) for i, name in enumerate(names)}
    return Column(np.array([np.nan if v is None else place[v] for v in values], np.float32), names)


def typed_column(values: Sequence[Any], name: str) -> Column | None:
    """A column from values of a typed data set; None if they cannot be labels.

    Raises:
        UserError: more than `MOST_CATEGORIES` names.
    """
    given = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in given):
        numbers = [np.nan if value is None else float(value) for value in values]
        return Column(np.array(numbers, np.float32), ("false", "true"))
    if all(isinstance(value, str) for value in given):
        found = names_column(values)
        if len(found.names) > MOST_CATEGORIES:
            raise too_many_names(name)
        return found
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return array_column(np.array([np.nan if value is None else value for value in values], np.float64))
    return None


def join_columns(parts: Sequence[Column | None], sizes: Sequence[int]) -> Column:
    """Concatenate a label of several sources of `sizes` images each; None is a source without it."""
    pairs = list(zip(parts, sizes, strict=True))
    if not any(part.names for part in parts if part is not None):
        columns = [np.full(n, np.nan, np.float32) if part is None else part.values for part, n in pairs]
        return Column(np.concatenate(columns))
    values: list[str | None] = []
    for part, n in pairs:
        written = [None] * n if part is None else part.written
        values += [spell_number(value) if isinstance(value, float) else value for value in written]
    return names_column(values)
