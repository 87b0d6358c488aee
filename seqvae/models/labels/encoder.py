"""The labels that a model is conditioned on, as features.

Shapes: N or n examples, B of a batch, L columns of labels, C features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any

import torch
from torch import Tensor

from seqvae.errors import UserError, suggest
from seqvae.models.labels.spec import LabelSpec


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
