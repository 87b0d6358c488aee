"""What a user gives in Python: collections of examples as sequences, codes as tensors, whole numbers.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from os import PathLike
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from seqvae.errors import UserError


@runtime_checkable
class Table(Protocol):
    """A table of columns (pandas, polars, pyarrow), whose iteration gives the names of its columns."""

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        """The interchange protocol of data frames."""


def as_examples(given: Any) -> Sequence[Any]:
    """The N examples of any collection that has an order: a list, generator, array, column of a table ...

    A list, tuple, array or tensor is returned unchanged, anything else is read once into a list.

    Raises:
        UserError: one example instead of a collection; a table, mapping or set, whose iteration gives the
            names of its columns, its keys, or another order than the user's; or no collection.
    """
    if isinstance(given, str | bytes | PathLike):
        raise UserError(f"examples got {given!r}, which is one of them: give a list, [{given!r}]")
    kind = type(given).__name__
    if isinstance(given, Table):
        raise UserError(f"examples got a whole table ({kind}): give one of its columns, table['text']")
    if isinstance(given, Mapping):
        raise UserError(f"examples got a mapping ({kind}): give a list of its values")
    if isinstance(given, set | frozenset):
        raise UserError(f"examples got a {kind}, which has no order of rows: give a list, sorted(...)")
    if isinstance(given, list | tuple) or (isinstance(given, np.ndarray | Tensor) and given.ndim):
        return given  # type: ignore[return-value]
    if not isinstance(given, Iterable) or isinstance(given, np.ndarray | Tensor):
        raise UserError(f"examples got {str(given)[:40]!r}, a {kind}: give a list of examples")
    return list(given)


def as_codes(given: Any, dims: int) -> Tensor:
    """Codes (N, D) fp32 of a tensor, an array, a table of numbers, or rows of numbers.

    Raises:
        UserError: no numbers, codes of another size, or with NaN or infinite values.
    """
    rows = isinstance(given, list | tuple)
    try:
        if given is None:
            raise TypeError("None")  # numpy reads it as nan
        if rows and len(given) and all(isinstance(row, Tensor) for row in given):
            given = torch.stack(list(given))
        z: Tensor = torch.as_tensor(given if isinstance(given, Tensor) else np.asarray(given, np.float64))
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"codes got a {type(given).__name__} that is not (N, {dims}) numbers") from None
    if z.is_complex():
        raise UserError("codes got complex numbers: give real ones")
    z = z.float()
    if rows and not len(given):
        return z.new_zeros(0, dims)
    if z.ndim != 2 or z.shape[1] != dims:
        raise UserError(f"codes have shape {tuple(z.shape)}: this model reads (N, {dims})")
    if len(wrong := z.isfinite().all(1).logical_not().nonzero()):
        raise UserError(f"code {int(wrong[0])} of {len(z)} holds nan or inf: give finite numbers")
    return z


def as_step(given: Any, z: Tensor) -> Tensor:
    """A step (D,), or one per code (N, D), to add to the codes z (N, D); or one number for all dims.

    Raises:
        UserError: no numbers, or of another size.
    """
    try:
        step = torch.as_tensor(given, dtype=torch.float32)
        return step.cpu().expand_as(z)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(
            f"step got {str(given)[:40]!r}: give numbers of shape ({z.shape[1]},) or {tuple(z.shape)}"
        ) from None


def as_count(name: str, given: Any, least: int = 0) -> int:
    """A whole number of at least `least`.

    Raises:
        UserError: another number, or none.
    """
    if not isinstance(given, SupportsIndex) or index(given) < least:
        raise UserError(f"{name} got {given!r}: give a whole number, {least} or more")
    return index(given)
