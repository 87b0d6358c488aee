"""Random held-out rows for validation and test, if no files are given for them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise

Rows = npt.NDArray[np.int64]


def split_rows(n: int, shares: Mapping[str, float], most: int, seed: int, where: str) -> dict[str, Rows]:
    """Split `n` rows into held-out parts and `train`, sorted; depends only on the seed.

    A part gets its fraction of the rows, at least 1 and at most `most`.

    Raises:
        UserError: fractions that leave nothing for training, or too few rows.
    """
    if sum(shares.values()) >= 1:
        raise UserError(
            f"valid_share and test_share add up to {sum(shares.values()):g}: leave some to train on"
        )
    sizes = {name: min(max(int(n * share), 1), most) for name, share in shares.items()}
    held = sum(sizes.values())
    if held >= n:
        raise UserError(
            f"{where} has {n} pictures, too few to set {' and '.join(sizes)} data aside: add more"
        )
    order = torch.argsort(KeyedNoise(seed, 0, torch.arange(n)).uniform("shares"), stable=True).numpy()
    ends = np.cumsum(list(sizes.values()))
    parts = {name: np.sort(order[end - sizes[name] : end]) for name, end in zip(sizes, ends, strict=True)}
    return {"train": np.sort(order[held:]), **parts}
