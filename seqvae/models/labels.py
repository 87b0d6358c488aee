"""What a model is told of an example besides x: its labels as features, and who guesses a missing one.

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
    """One column of `batch.labels`: one of K `classes`, told as one-hot, or a number as (v - mean) / sd.

    Classes that have names stand in the column as places among them, others as what they are.
    """

    name: str
    column: int
    classes: tuple[str | float, ...] = ()
    mean: float = 0.0
    sd: float = 1.0

    @property
    def width(self) -> int:
        """How many features tell it."""
        return len(self.classes) or 1

    @property
    def class_values(self) -> list[float]:
        """What stands for each class in the column, (K,)."""
        named = isinstance(self.classes[0], str)
        return [float(i if named else value) for i, value in enumerate(self.classes)]

    def values(self, labels: Tensor) -> Tensor:
        """(B,): the column of labels (B, L), NaN where it has no value that the model knows."""
        if labels.shape[1] <= self.column:
            return labels.new_full((len(labels),), torch.nan)
        values = labels[:, self.column]
        known = (
            (values[:, None] == values.new_tensor(self.class_values)).any(-1)
            if self.classes
            else values.isfinite()
        )
        return torch.where(known, values, torch.nan)

    def with_values(self, labels: Tensor, values: Tensor | float) -> Tensor:
        """(B, L): the same labels, or with more columns, with `values` in this one."""
        missing = labels.new_full((len(labels), max(0, self.column + 1 - labels.shape[1])), torch.nan)
        wide = torch.cat([labels, missing], 1)
        values = values if isinstance(values, Tensor) else torch.full_like(wide[:, 0], values)
        return torch.cat([wide[:, : self.column], values.to(wide)[:, None], wide[:, self.column + 1 :]], 1)

    def features(self, values: Tensor) -> Tensor:
        """(B, K) or (B, 1) from values (B,); zeros (the mean of a number) where a value is not known."""
        if self.classes:
            return (values[:, None] == constant(tuple(self.class_values), values.device)).float()
        return torch.where(values.isfinite(), (values - self.mean) / self.sd, 0.0)[:, None]

    @property
    def is_missing(self) -> UserError:
        """The error of data that have no value of this label at all."""
        return UserError(
            f"this model is told {self.name!r}, which is missing here: give --condition "
            f"{self.name}=VALUE (condition={{...}}), or data that have it (--label {self.name}=COLUMN)"
        )

    def knows(self, value: Any) -> bool:
        """Whether a value as data have it can be told."""
        try:
            self.encode(value)
        except UserError:
            return False
        return True

    def encode(self, value: Any) -> float:
        """What stands in the column for a value as a user gives it.

        Raises:
            UserError: no such class, or no number.
        """
        if self.classes and isinstance(self.classes[0], str):
            name = self._class_of(value)
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
        """What a user calls the value that the column holds as `code`; the inverse of `code`."""
        named = self.classes and isinstance(self.classes[0], str)
        return self.classes[int(code)] if named else code

    def _class_of(self, value: Any) -> str | None:
        """The class of that name, or the only one whose name is the same to Unicode."""
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
    """What a model is told: features (B, C) of its labels, one after the other.

    `fixed`, a value of each, is what all examples are told instead of their own, where somebody chose so.
    """

    specs: tuple[LabelSpec, ...]
    fixed: tuple[float, ...] = ()

    @property
    def dim(self) -> int:
        """C."""
        return sum(label.width for label in self.specs)

    @property
    def categories(self) -> dict[str, Sequence[str]]:
        """The names of classes, by label, and none for numbers: other data number theirs alike."""
        return {label.name: [c for c in label.classes if isinstance(c, str)] for label in self.specs}

    def fix(self, condition: Mapping[str, Any]) -> LabelEncoder:
        """The same labels, of which all examples are told these values, {label: value}.

        Raises:
            UserError: a label that is not told, one that is left out, or a value that is none.
        """
        self._check_names(condition)
        return replace(self, fixed=tuple(label.encode(condition[label.name]) for label in self.specs))

    def encode_columns(self, condition: Mapping[str, Any], n: int) -> Tensor:
        """Labels (n, L) as data hold them, of {label: a value of all, or a list of one for each}.

        None in a list is an example without the label.

        Raises:
            UserError: as `fix`, or a list of another length.
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
        """{label: the value of each example} of labels (n, L), the inverse of `encode_columns`.

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
        """Refuse labels (N, L) of a whole data set in which one has no value that the model knows.

        Raises:
            UserError: such a label.
        """
        for label in self.specs:
            if bool(label.values(labels).isnan().all()):
                raise label.is_missing

    def strange(self, labels: Tensor) -> list[str]:
        """A line for each label of a data set (N, L) that has values which the model does not know."""
        lines = []
        for label in self.specs:
            given = labels[:, label.column]
            unknown = given[label.values(labels).isnan() & ~given.isnan()]
            if len(unknown):
                lines.append(
                    f"{len(unknown):,} with a label {label.name!r} that training had not "
                    f"({float(unknown[0]):g} for one): the model is told nothing of it"
                )
        return lines

    def _check_names(self, condition: Mapping[str, Any]) -> None:
        names = [label.name for label in self.specs]
        for name in condition:
            if name not in names:
                raise UserError(f"condition got {name!r}, this model is told others: {suggest(name, names)}")
        if left := [name for name in names if name not in condition]:
            raise UserError(f"condition lacks {', '.join(left)}: this model is told {', '.join(names)}")

    def features(self, labels: Tensor, strict: bool = True) -> Tensor:
        """C (B, C) of labels (B, L); zeros where a value is missing, of which the model is told nothing.

        Raises:
            UserError: labels without a column for one, if `strict`.
        """
        for label in self.specs if strict else ():
            if labels.shape[1] <= label.column:
                raise label.is_missing
        return torch.cat([label.features(label.values(labels)) for label in self.specs], -1)

    def fixed_features(self, n: int, device: torch.device) -> Tensor:
        """C (n, C) of the chosen values.

        Raises:
            UserError: none were chosen.
        """
        if not self.fixed:
            names = " ".join(f"--condition {label.name}=VALUE" for label in self.specs)
            raise UserError(f"this model is told labels: give {names} (condition={{...}})")
        values = torch.tensor(self.fixed, device=device).expand(n, -1)
        return torch.cat([a.features(v) for a, v in zip(self.specs, values.unbind(-1), strict=True)], -1)


def _number(value: Any) -> float:
    """A label as a number; data's true and false are 1 and 0, as they were before they were names."""
    try:
        return float({"true": 1, "false": 0}.get(value, value) if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return nan


class Classifier(nn.Module):
    """q(y|x) of a label y that may be missing: softmax of a linear map of an encoder's features."""

    def __init__(self, encoder: Encoder, label: LabelSpec) -> None:
        super().__init__()
        self.label, self.encoder = label, encoder
        self.logits = nn.Linear(encoder.out_dim, label.width)

    def forward(self, batch: Batch) -> Tensor:
        """Ln q(y|x), (B, K) nats, in fp32."""
        h = self.encoder(batch)
        with torch.autocast(h.device.type, enabled=False):
            return torch.log_softmax(self.logits(h.float()), -1)

    def one_hot(self, labels: Tensor) -> Tensor:
        """(B, K): one-hot where the label is there, zeros where it is missing."""
        return self.label.features(self.label.values(labels))

    def impute(self, batch: Batch) -> Tensor:
        """Labels (B, L) of a batch, a missing one replaced by the likeliest class."""
        values = self.label.values(batch.labels)
        if not bool(values.isnan().any()):
            labels: Tensor = batch.labels
            return labels
        guess = constant(tuple(self.label.class_values), values.device)[self(batch).argmax(-1)]
        return self.label.with_values(batch.labels, torch.where(values.isnan(), guess, values))
