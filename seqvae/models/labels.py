"""Label conditioning: labels as features, and a classifier that infers missing ones.

Shapes: N or n examples, B of a batch, L columns of labels, C features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan, nan
from typing import Any
from unicodedata import normalize

import torch
from torch import Tensor, nn

from seqvae.errors import UserError, suggest
from seqvae.interfaces import Batch, Encoder
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


@dataclass(frozen=True)
class LabelEncoder:
    """Encodes the labels that a model is conditioned on as features (B, C), concatenated.

    Attributes:
        specs: the labels.
        fixed: one value per label that replaces those of all examples; empty if examples use their own.

    Example:
        >>> tense = LabelSpec("tense", column=0, classes=("past", "present"))
        >>> encoder = LabelEncoder((tense, LabelSpec("length", column=1, mean=9.0, sd=3.0)))
        >>> encoder.features(torch.tensor([[0.0, 12.0], [1.0, 9.0]]))
        tensor([[1., 0., 1.],
                [0., 1., 0.]])
    """

    specs: tuple[LabelSpec, ...]
    fixed: tuple[float, ...] = ()

    @property
    def dim(self) -> int:
        """C, the number of features."""
        return sum(label.width for label in self.specs)

    @property
    def categories(self) -> dict[str, Sequence[str]]:
        """Class names per label, empty for numbers, so that other data sets use the same indices."""
        return {label.name: [c for c in label.classes if isinstance(c, str)] for label in self.specs}

    def fix(self, condition: Mapping[str, Any]) -> LabelEncoder:
        """A copy in which all examples have these values, {label: value}.

        Raises:
            UserError: a label is unknown or missing, or a value is invalid.
        """
        self._check_names(condition)
        return replace(self, fixed=tuple(label.encode(condition[label.name]) for label in self.specs))

    def encode_columns(self, condition: Mapping[str, Any], n: int) -> Tensor:
        """Label values (n, L) as data sets store them.

        Args:
            condition: {label: one value for all, or a list of n values, None where the label is missing}.
            n: number of examples.

        Raises:
            UserError: as `fix`, or a list does not have n values.
        """
        self._check_names(condition)
        found = torch.full((n, 0), torch.nan)
        for label in self.specs:
            given = condition[label.name]
            values = given if isinstance(given, list | tuple) else [given] * n
            if len(values) != n:
                raise UserError(
                    f"condition {label.name!r} got {len(values)} values for {n} examples: give one, or one "
                    "for each"
                )
            each = isinstance(given, list | tuple)
            codes = [nan if each and value is None else label.encode(value) for value in values]
            found = label.with_values(found, torch.tensor(codes))
        return found

    def decode_columns(self, labels: Tensor) -> dict[str, list[Any]]:
        """{label: list of n values} of labels (n, L), the inverse of `encode_columns`.

        Raises:
            UserError: as `features`.
        """
        self.features(labels)
        found = {label: label.values(labels).tolist() for label in self.specs}
        return {
            label.name: [None if isnan(v) else label.decode(v) for v in values]
            for label, values in found.items()
        }

    def require(self, labels: Tensor) -> None:
        """Reject labels (N, L) of a data set in which some label has no known value at all.

        Raises:
            UserError: there is such a label.
        """
        for label in self.specs:
            if bool(label.values(labels).isnan().all()):
                raise label.missing_error

    def describe_unknown(self, labels: Tensor) -> list[str]:
        """One line per label of a data set (N, L) with values that are not in the training data."""
        lines = []
        for label in self.specs:
            given = labels[:, label.column]
            unknown = given[label.values(labels).isnan() & ~given.isnan()]
            if len(unknown):
                lines.append(
                    f"{len(unknown):,} with a label {label.name!r} that training had not "
                    f"({float(unknown[0]):g} for one): the model treats it as missing"
                )
        return lines

    def _check_names(self, condition: Mapping[str, Any]) -> None:
        names = [label.name for label in self.specs]
        for name in condition:
            if name not in names:
                raise UserError(
                    f"condition got {name!r}, which this model is not conditioned on: {suggest(name, names)}"
                )
        if left := [name for name in names if name not in condition]:
            raise UserError(
                f"condition lacks {', '.join(left)}: this model is conditioned on {', '.join(names)}"
            )

    def features(self, labels: Tensor, strict: bool = True) -> Tensor:
        """Features c (B, C) of labels (B, L); zeros where a value is missing or unknown.

        Args:
            labels: label values, NaN where missing.
            strict: reject labels without a column for each label of the model.

        Raises:
            UserError: `strict`, and a column is missing.
        """
        for label in self.specs if strict else ():
            if labels.shape[1] <= label.column:
                raise label.missing_error
        return torch.cat([label.features(label.values(labels)) for label in self.specs], -1)

    def fixed_features(self, n: int, device: torch.device) -> Tensor:
        """Features c (n, C) of the fixed values.

        Raises:
            UserError: no values are fixed.
        """
        if not self.fixed:
            names = " ".join(f"--condition {label.name}=VALUE" for label in self.specs)
            raise UserError(f"this model is conditioned on labels: give {names} (condition={{...}})")
        values = torch.tensor(self.fixed, device=device).expand(n, -1)
        return torch.cat([a.features(v) for a, v in zip(self.specs, values.unbind(-1), strict=True)], -1)


def _number(value: Any) -> float:
    """A label value as a number; the strings true and false are 1 and 0, as in runs trained on them."""
    try:
        return float({"true": 1, "false": 0}.get(value, value) if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return nan


class Classifier(nn.Module):
    """q(y|x) of a label y that may be missing: an encoder, a linear layer and a softmax.

    Args:
        encoder: an encoder of its own, since that of the VAE learns features for z.
        label: the label, which has classes.
    """

    def __init__(self, encoder: Encoder, label: LabelSpec) -> None:
        super().__init__()
        self.label, self.encoder = label, encoder
        self.logits = nn.Linear(encoder.out_dim, label.width)

    def forward(self, batch: Batch) -> Tensor:
        """Log q(y|x), (B, K) nats, fp32."""
        h = self.encoder(batch)
        with torch.autocast(h.device.type, enabled=False):
            return torch.log_softmax(self.logits(h.float()), -1)

    def one_hot(self, labels: Tensor) -> Tensor:
        """(B, K) from labels (B, L): one-hot, or zeros where the label is missing."""
        return self.label.features(self.label.values(labels))

    def impute(self, batch: Batch) -> Tensor:
        """Labels (B, L) of a batch, with the most likely class where this label is missing."""
        values = self.label.values(batch.labels)
        if not bool(values.isnan().any()):
            labels: Tensor = batch.labels
            return labels
        guess = constant(tuple(self.label.class_values), values.device)[self(batch).argmax(-1)]
        return self.label.with_values(batch.labels, torch.where(values.isnan(), guess, values))
