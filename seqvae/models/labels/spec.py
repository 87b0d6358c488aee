"""How one label is encoded: classes as one-hot vectors, numbers standardised.

Shapes: B examples of a batch, L columns of labels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from typing import Any
from unicodedata import normalize

import torch
from torch import Tensor

from seqvae.errors import UserError, suggest
from seqvae.numerics import constant


@dataclass(frozen=True)
class LabelSpec:
    """How one column of `batch.labels` is encoded: K classes as one-hot, a number as (v - mean) / sd.

    Attributes:
        name: name of the label.
        column: index of its column in `batch.labels`.
        classes: the K classes; strings are stored in the column as their index, numbers as they are. Empty
            for a real-valued label.
        mean: mean over the training data, of a real-valued label.
        sd: standard deviation over the training data, of a real-valued label.

    Example:
        >>> tense = LabelSpec("tense", column=0, classes=("past", "present"))
        >>> tense.features(torch.tensor([1.0, 0.0]))
        tensor([[0., 1.],
                [1., 0.]])
    """

    name: str
    column: int
    classes: tuple[str | float, ...] = ()
    mean: float = 0.0
    sd: float = 1.0

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.classes) or 1

    @property
    def class_values(self) -> list[float]:
        """Value of each class in the column, (K,)."""
        named = isinstance(self.classes[0], str)
        return [float(i if named else value) for i, value in enumerate(self.classes)]

    def values(self, labels: Tensor) -> Tensor:
        """(B,): this column of labels (B, L), NaN where the value is missing or not in the training data."""
        if labels.shape[1] <= self.column:
            return labels.new_full((len(labels),), torch.nan)
        values = labels[:, self.column]
        known = (
            (values[:, None] == constant(tuple(self.class_values), values.device)).any(-1)
            if self.classes
            else values.isfinite()
        )
        return torch.where(known, values, torch.nan)

    def with_values(self, labels: Tensor, values: Tensor | float) -> Tensor:
        """(B, L): `labels` with `values` (B,) in this column, extended by columns of NaN where needed."""
        missing = labels.new_full((len(labels), max(0, self.column + 1 - labels.shape[1])), torch.nan)
        wide = torch.cat([labels, missing], 1)
        values = values if isinstance(values, Tensor) else torch.full_like(wide[:, 0], values)
        return torch.cat([wide[:, : self.column], values.to(wide)[:, None], wide[:, self.column + 1 :]], 1)

    def features(self, values: Tensor) -> Tensor:
        """(B, K) or (B, 1) from values (B,); zeros (the mean of a number) where a value is unknown."""
        if self.classes:
            return (values[:, None] == constant(tuple(self.class_values), values.device)).float()
        return torch.where(values.isfinite(), (values - self.mean) / self.sd, 0.0)[:, None]

    @property
    def missing_error(self) -> UserError:
        """The error for data without any value of this label."""
        return UserError(
            f"this model is conditioned on {self.name!r}, which is missing here: give --condition "
            f"{self.name}=VALUE (condition={{...}}), or data that have it (--label {self.name}=COLUMN)"
        )

    def accepts(self, value: Any) -> bool:
        """Whether the model can be conditioned on `value`, as a user or the data write it."""
        try:
            self.encode(value)
        except UserError:
            return False
        return True

    def encode(self, value: Any) -> float:
        """The value in the column for a value as a user writes it.

        Raises:
            UserError: the class does not exist, or the value is not a number.
        """
        if self.classes and isinstance(self.classes[0], str):
            name = self._find_class(value)
            if name is None:
                raise UserError(
                    f"condition {self.name!r} got {value!r}: {suggest(str(value), self._names())}"
                )
            return float(self.classes.index(name))
        number = _number(value)
        if not isfinite(number):
            raise UserError(f"condition {self.name!r} got {value!r}: give a number")
        if self.classes and number not in self.class_values:
            raise UserError(f"condition {self.name!r} got {value!r}: {self._describe_classes()}")
        return number

    def decode(self, code: float) -> str | float:
        """The value as a user writes it, from its `code` in the column; the inverse of `encode`."""
        named = self.classes and isinstance(self.classes[0], str)
        return self.classes[int(code)] if named else code

    def _find_class(self, value: Any) -> str | None:
        """The class with this name, or the only one whose name is equal after Unicode normalisation."""
        if value in self.classes or not isinstance(value, str):
            return value if value in self.classes else None
        names = [each for each in self.classes if isinstance(each, str)]
        same = [name for name in names if normalize("NFC", name) == normalize("NFC", value)]
        return same[0] if len(same) == 1 else None

    def _names(self) -> list[str]:
        return [value if isinstance(value, str) else f"{value:g}" for value in self.classes]

    def _describe_classes(self) -> str:
        return f"training knew {', '.join(self._names())}"


def _number(value: Any) -> float:
    """A label value as a number; the strings true and false are 1 and 0, as in runs trained on them."""
    try:
        return float({"true": 1, "false": 0}.get(value, value) if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return nan
