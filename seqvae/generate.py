"""Codes in, codes out: prior draws and paths between codes, whatever they decode to.

Shapes: N codes, D latent dims, T points of a path.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from seqvae.interfaces import Batch, Posterior, stands_for
from seqvae.model import VAE
from seqvae.numerics import Randomness, lerp, slerp

Path = Literal["linear", "slerp"]


def prior_codes(vae: VAE, n: int, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Z (n, D) from p(z); draw i does not depend on n."""
    with torch.no_grad():
        z: Tensor = vae.prior(None).sample(n, Randomness(seed, 0, torch.arange(n, device=device)))
    return z


def codes(q: Posterior, batch: Batch, sample: bool = False) -> Tensor:
    """(B, D): the codes that stand for the examples (posterior means), or one draw of each."""
    return q.rsample(1, batch.random)[0] if sample else stands_for(q)


def path_between(a: Tensor, b: Tensor, points: int, path: Path = "linear") -> Tensor:
    """(T, D) from a (D,) to b (D,), both ends included.

    `linear` keeps to the chord, `slerp` to the arc on which a Gaussian prior has its mass (White 2016).
    """
    t = torch.linspace(0, 1, points, device=a.device)
    return lerp(a, b, t) if path == "linear" else slerp(a, b, t)
