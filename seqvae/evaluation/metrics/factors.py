"""Validation and preprocessing of codes and factors for disentanglement metrics.

A factor with more than `BINS` distinct values counts as real, and is binned into `BINS` bins of equal width
where classes are needed. Shapes: N examples, D latent dims, F factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BINS = 20  # as in the code of Locatello et al. 2019
FEWEST = 100  # minimum examples: fewer give meaningless scores on a half


def validate_factors(codes: Any, factors: Any, names: Sequence[str] | None = None) -> tuple[Floats, Floats]:
    """Check codes (N, D) and factors (N, F) and convert them to fp64; factors (N,) become one column.

    NaN factors are unknown.

    Raises:
        UserError: shapes or names that do not match, too few examples, codes that are not finite, or a factor
            that never changes.
    """
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors, np.float64)
    factors = factors[:, None] if factors.ndim == 1 else factors
    if (
        codes.ndim != 2
        or factors.ndim != 2
        or len(codes) != len(factors)
        or 0 in (*codes.shape, *factors.shape)
    ):
        raise UserError(
            f"got codes {codes.shape} and factors {factors.shape}: give (N, D) and (N, F) of the same N"
        )
    if len(codes) < FEWEST:
        raise UserError(f"got {len(codes)} examples to measure disentanglement on: give {FEWEST} or more")
    if not np.isfinite(codes).all():
        raise UserError("the codes hold NaN or infinity: only factors may be unknown")
    _check_factors(factors, names)
    return codes, factors


def _check_factors(factors: Floats, names: Sequence[str] | None) -> None:
    names = [str(i) for i in range(factors.shape[1])] if names is None else names
    if len(names) != factors.shape[1]:
        raise UserError(f"got {len(names)} names for {factors.shape[1]} factors: give one name per factor")
    for name, values in zip(names, factors.T, strict=True):
        known = values[~np.isnan(values)]
        if len(known) < FEWEST:
            raise UserError(
                f"factor {name!r} is known for {len(known)} examples: give {FEWEST} or leave it out"
            )
        if known.min() == known.max():
            raise UserError(f"factor {name!r} has one value only, {known[0]:g}: leave it out")


def is_real(values: Floats) -> bool:
    """Whether values (N,) have too many distinct known values to be classes."""
    return len(np.unique(values[~np.isnan(values)])) > BINS


def bin_equal_width(values: Floats, bins: int) -> Ints:
    """The bin 0 ... bins - 1 of each of values (N,), between their minimum and maximum."""
    low, high = float(values.min()), float(values.max())
    if high == low:
        return np.zeros(len(values), np.int64)
    places = np.floor((values - low) * (bins / (high - low))).astype(np.int64)
    return np.minimum(places, bins - 1)


def as_classes(values: Floats) -> Ints:
    """Classes 0 ... K - 1 of values (N,), -1 if unknown."""
    classes, known = np.full(len(values), -1), ~np.isnan(values)
    found = bin_equal_width(values[known], BINS) if is_real(values) else values[known]
    classes[known] = np.unique(found, return_inverse=True)[1]
    return classes


def standardize(codes: Floats) -> Floats:
    """Codes (N, D) with mean 0 and variance 1 per dim; constant dims become 0."""
    centred, scale = codes - codes.mean(0), codes.std(0)
    changes = scale > 1e-12 * np.abs(codes).max(0)
    divided: Floats = np.divide(centred, scale, out=np.zeros_like(centred), where=changes)
    return divided


def split_in_halves(n: int, seed: int) -> tuple[Ints, Ints]:
    """The numbers 0 ... n - 1, shuffled and split into a training and a test half."""
    order = np.argsort(keyed_uniform("halves", n, 1, seed)[:, 0], kind="stable")
    return order[: n // 2], order[n // 2 :]


def keyed_uniform(stream: str, rows: int, places: int, seed: int) -> Floats:
    """Uniforms (rows, places) from the open interval (0, 1)."""
    drawn = KeyedNoise(seed, 0, torch.arange(rows)).uniform(f"disentanglement/{stream}", places)
    return np.asarray(drawn, np.float64)
