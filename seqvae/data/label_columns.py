"""Encoding of one label of a split: numbers, or indices of category names.

Shapes: N examples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqvae.data.values import Value, Written, is_no_number, is_number, number_of, spell_number
from seqvae.errors import UserError

MOST_CATEGORIES = 10_000
MOST_MIXED = 64  # distinct numbers allowed among names, as names
_SHOWN = 3  # number of unknown values shown in messages

Codes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LostLabels:
    """Numbers of a split's examples without a label, by reason."""

    missing: int = 0  # empty in the file
    infinite: int = 0  # NaN, infinite, or beyond fp32
    unknown: int = 0  # values that do not occur in training
    examples: Sequence[str] = ()  # such values, the most frequent first

    @property
    def count(self) -> int:
        """The total."""
        return self.missing + self.infinite + self.unknown

    def words(self, name: str) -> str:
        """A message: `3 without label 'tense' (2 unknown to training: 'perfect'; 1 missing)`."""
        reasons = [f"{self.missing:,} missing"] if self.missing else []
        if self.unknown:
            shown = ", ".join(map(repr, self.examples))
            reasons += [f"{self.unknown:,} unknown to training: {shown}"]
        reasons += [f"{self.infinite:,} not finite"] if self.infinite else []
        return f"{self.count:,} without label {name!r} ({'; '.join(reasons)})"


class LabelColumn:
    """Encodes a label column chunk by chunk.

    If `known` lists the names of training, values are indices into it; if it is empty they are numbers; any
    other value is a missing label. If `known` is None, the values decide: typed numbers are numbers and typed
    strings names; fields of a text table are numbers if the whole column is.
    """

    def __init__(self, name: str, known: Sequence[str] | None = None) -> None:
        self.name, self.known = name, known
        self.seen: dict[str, int] = {each: i for i, each in enumerate(known or ())}  # {name: code}
        self.numbers = known is not None and not known
        self.typed = False  # whether a typed string occurred
        self.rows, self.spelled = 0, 0  # rows so far; rows whose codes are indices into `seen`
        self.missing, self.infinite = 0, 0
        self.unknown: Counter[str] = Counter()

    @property
    def names(self) -> list[str]:
        """The categories in the order of their codes; none for numbers."""
        if self.known is not None:
            return list(self.known)
        return [] if self.numbers else sorted(self.seen)

    @property
    def lost(self) -> LostLabels:
        """Numbers of missing labels, by reason."""
        examples = [value for value, _ in self.unknown.most_common(_SHOWN)]
        return LostLabels(self.missing, self.infinite, self.unknown.total(), examples)

    def codes(self, values: Sequence[Value]) -> Codes:
        """Codes (N,) of the next values, NaN for a missing label; `finished` makes them final.

        Raises:
            UserError: numbers and names in one column, or more than `MOST_CATEGORIES` names.
        """
        code = self._new_code if self.known is None else self._known_code
        found = np.fromiter(map(code, values), np.float32, len(values))
        self.rows += len(values)
        if self.known is None and not self.numbers:
            self.spelled = self.rows
            self._check_names()
        return found

    def finished(self, codes: Codes) -> Codes:
        """The final codes (N,) of the column: indices into `names`, or numbers.

        Raises:
            UserError: numbers and names in one column.
        """
        if self.known is not None or not self.seen:
            return codes
        if not self._proper_names():
            self.numbers = True
            table = [number_of(Written(each)) for each in self.seen]
        else:
            place = {each: i for i, each in enumerate(self.names)}
            table = [place[each] for each in self.seen]
        spelled = codes[: self.spelled]
        known = np.where(np.isnan(spelled), len(table), spelled).astype(np.int64)
        found = np.array([*table, math.nan], np.float32)[known]
        self.infinite += int(np.isnan(found).sum() - np.isnan(spelled).sum())
        return np.concatenate([found, codes[self.spelled :]])

    def _known_code(self, value: Value) -> float:
        if value is None:
            self.missing += 1
            return math.nan
        if self.numbers:
            number = self._finite(value) if not isinstance(value, str) else number_of(value)
            if math.isnan(number) and isinstance(value, str):
                self.unknown[str(value)] += 1
            return number
        name = value if isinstance(value, str) else spell_number(value)
        place = self.seen.get(name)
        if place is None:
            self.unknown[str(name)] += 1
        return math.nan if place is None else float(place)

    def _new_code(self, value: Value) -> float:
        if value is None:
            self.missing += 1
            return math.nan
        written = isinstance(value, Written)
        if not isinstance(value, str) and not self.seen:
            self.numbers = True
        if self.numbers:
            if isinstance(value, str) and not (written and (is_number(value) or is_no_number(value))):
                raise self._mixed_error(value)
            return self._finite(value)
        self.typed = self.typed or (isinstance(value, str) and not written)
        if self.typed and not isinstance(value, str):
            raise self._mixed_error(value)
        return float(self.seen.setdefault(str(value), len(self.seen)))

    def _finite(self, value: Value) -> float:
        number = number_of(value)
        self.infinite += math.isnan(number)
        return number

    def _proper_names(self) -> bool:
        """Whether there are names that are not numbers; an error among many numbers."""
        proper = [each for each in self.seen if not (is_number(each) or is_no_number(each))]
        if proper and not self.typed and len(self.seen) - len(proper) > MOST_MIXED:
            raise self._mixed_error(proper[0])
        return bool(proper) or self.typed

    def _check_names(self) -> None:
        if len(self.seen) <= MOST_CATEGORIES:
            return
        if self._proper_names():
            raise too_many_names(self.name)
        self.numbers = True  # from the next chunk on, so that spellings need not be stored

    def _mixed_error(self, value: object) -> UserError:
        return UserError(
            f"label {self.name!r} mixes numbers with names ({value!r}): use one kind, and leave the field "
            "empty where there is no value"
        )


def too_many_names(label: str) -> UserError:
    """The error for a label with more than `MOST_CATEGORIES` different names."""
    return UserError(f"label {label!r} has more than {MOST_CATEGORIES} different names: it is no category")
