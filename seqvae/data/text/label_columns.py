"""Encoding of one label of a split: numbers, or indices of category names.

Shapes: N sentences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqvae.data.text.token_store import LostLabels
from seqvae.data.text.values import Value, Written, is_no_number, is_number, number_of
from seqvae.errors import UserError

MOST_CATEGORIES = 10_000
MOST_MIXED = 64  # distinct numbers allowed among names, as names
_SHOWN = 3  # number of unknown values shown in messages

Codes = npt.NDArray[np.float32]


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
        place = self.seen.get(str(value))
        if place is None:
            self.unknown[str(value)] += 1
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
            raise UserError(
                f"label {self.name!r} has more than {MOST_CATEGORIES} different names: it is no category"
            )
        self.numbers = True  # from the next chunk on, so that spellings need not be stored

    def _mixed_error(self, value: object) -> UserError:
        return UserError(
            f"label {self.name!r} mixes numbers with names ({value!r}): use one kind, and leave the field "
            "empty where there is no value"
        )
