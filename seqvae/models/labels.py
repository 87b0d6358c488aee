"""What a model is told of an example besides x: its labels as features, and who guesses a missing one.

Shapes: N or n examples, B of a batch, L columns of labels, C features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

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
        """(B,): the column of labels (B, L), NaN where there is no such column."""
        if labels.shape[1] > self.column:
            return labels[:, self.column]
        return labels.new_full((len(labels),), torch.nan)

    def with_values(self, labels: Tensor, values: Tensor | float) -> Tensor:
        """(B, L): the same labels, or with more columns, with `values` in this one."""
        missing = labels.new_full((len(labels), max(0, self.column + 1 - labels.shape[1])), torch.nan)
        wide = torch.cat([labels, missing], 1)
        values = values if isinstance(values, Tensor) else torch.full_like(wide[:, 0], values)
        return torch.cat([wide[:, : self.column], values.to(wide)[:, None], wide[:, self.column + 1 :]], 1)

    def features(self, values: Tensor) -> Tensor:
        """(B, K) or (B, 1) from values (B,); what is no class has a row of zeros."""
        if self.classes:
            return (values[:, None] == constant(tuple(self.class_values), values.device)).float()
        return ((values - self.mean) / self.sd)[:, None]

    def check(self, values: Tensor) -> None:
        """Refuse values that the model cannot be told.

        Raises:
            UserError: a value that is missing, or a class that training had not.
        """
        if bool(values.isnan().any()):
            raise UserError(
                f"this model is told {self.name!r}, which is missing here: give --condition "
                f"{self.name}=VALUE (condition={{...}}), or data that have it"
            )
        if self.classes and not bool((strange := ~self.features(values).any(-1)).logical_not().all()):
            raise UserError(
                f"label {self.name!r} got {float(values[strange][0]):g}: {self._describe_classes()}"
            )

    def encode(self, value: Any) -> float:
        """What stands in the column for a value as a user gives it.

        Raises:
            UserError: no such class, or no number.
        """
        if self.classes and isinstance(self.classes[0], str):
            if value not in self.classes:
                raise UserError(
                    f"condition {self.name!r} got {value!r}: {suggest(str(value), self._names())}"
                )
            return float(self.classes.index(value))
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not isfinite(number):
            raise UserError(f"condition {self.name!r} got {value!r}: give a number")
        if self.classes and number not in self.class_values:
            raise UserError(f"condition {self.name!r} got {value!r}: {self._describe_classes()}")
        return number

    def decode(self, code: float) -> str | float:
        """What a user calls the value that the column holds as `code`; the inverse of `code`."""
        named = self.classes and isinstance(self.classes[0], str)
        return self.classes[int(code)] if named else code

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
        """The names of classes, by label: other data number theirs alike."""
        named = {label.name: label.classes for label in self.specs}
        return {name: [str(c) for c in cs] for name, cs in named.items() if cs and isinstance(cs[0], str)}

    def fix(self, condition: Mapping[str, Any]) -> LabelEncoder:
        """The same labels, of which all examples are told these values, {label: value}.

        Raises:
            UserError: a label that is not told, one that is left out, or a value that is none.
        """
        self._check_names(condition)
        return replace(self, fixed=tuple(label.encode(condition[label.name]) for label in self.specs))

    def encode_columns(self, condition: Mapping[str, Any], n: int) -> Tensor:
        """Labels (n, L) as data hold them, of {label: a value of all, or a list of one for each}.

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
            found = label.with_values(found, torch.tensor([label.encode(value) for value in values]))
        return found

    def decode_columns(self, labels: Tensor) -> dict[str, list[Any]]:
        """{label: the value of each example} of labels (n, L), the inverse of `columns`.

        Raises:
            UserError: as `features`.
        """
        self.features(labels)
        return {label.name: [label.decode(v) for v in label.values(labels).tolist()] for label in self.specs}

    def _check_names(self, condition: Mapping[str, Any]) -> None:
        names = [label.name for label in self.specs]
        for name in condition:
            if name not in names:
                raise UserError(f"condition got {name!r}, this model is told others: {suggest(name, names)}")
        if left := [name for name in names if name not in condition]:
            raise UserError(f"condition lacks {', '.join(left)}: this model is told {', '.join(names)}")

    def features(self, labels: Tensor, strict: bool = True) -> Tensor:
        """C (B, C) of labels (B, L); what cannot be told is an error if `strict`, else its row is no use.

        Raises:
            UserError: a value that is missing, or a class that training had not.
        """
        columns = [(label, label.values(labels)) for label in self.specs]
        for label, values in columns if strict else ():
            label.check(values)
        return torch.cat([label.features(values) for label, values in columns], -1)

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
