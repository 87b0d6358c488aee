"""Codes on a plane: principal components at once, t-SNE when it is ready, and the place of any other code.

Shapes: N codes of the map, M others, D latent dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.plots.scatter import tsne_embedding

MOST = 5000  # codes that t-SNE lays out itself; the others go between their neighbours
NEAR = 3  # neighbours that a code's place is averaged over
ROWS = 2048  # codes whose neighbours are searched at once


@dataclass(frozen=True)
class Principal:
    """The plane of the two principal components: (z - centre) @ axes.

    Attributes:
        centre: (D,).
        axes: (D, 2), orthonormal; (D, 2) with a second column of 0 where D = 1.
        share: (2,) of the variance that each component has.
    """

    centre: Tensor
    axes: Tensor
    share: Tensor

    def place(self, z: Tensor) -> Tensor:
        """(M, 2)."""
        return (z.to(self.axes) - self.centre) @ self.axes


def fit_principal(codes: Tensor) -> Principal:
    """The two principal components of codes (N, D), each with its largest weight positive."""
    z = codes.double()
    centre = z.mean(0)
    values, vectors = torch.linalg.eigh((z - centre).T @ (z - centre) / len(z))  # rising
    axes, share = vectors.flip(1)[:, :2], values.flip(0)[:2] / values.sum().clamp(min=1e-12)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    if axes.shape[1] == 1:
        axes, share = torch.cat([axes, torch.zeros_like(axes)], 1), torch.cat([share, share.new_zeros(1)])
    return Principal(centre, axes, share)


@dataclass(frozen=True)
class Neighbourly:
    """An embedding without a formula: some codes have places, any other goes between the nearest of them.

    Attributes:
        codes: (n, D), those with places.
        places: (n, 2).
    """

    codes: Tensor
    places: Tensor

    def place(self, z: Tensor) -> Tensor:
        """(M, 2): the mean place of the nearest codes, weighted by 1 / distance; a code's own at itself."""
        return torch.cat([self._some(part) for part in torch.split(z.to(self.codes), ROWS)])

    def _some(self, z: Tensor) -> Tensor:
        near = torch.cdist(z, self.codes).topk(min(NEAR, len(self.codes)), largest=False)
        weight = 1 / near.values.double().clamp(min=1e-9)
        weight = weight / weight.sum(1, keepdim=True)
        return (weight[..., None] * self.places[near.indices]).sum(1)


Embedding = Principal | Neighbourly


def fit_tsne(codes: Tensor, seed: int = 0) -> Neighbourly:
    """t-SNE of codes (N, D), of at most `MOST` of them evenly spaced.

    Raises:
        UserError: scikit-learn is not installed, or fewer than 5 codes.
    """
    rows = torch.arange(len(codes)) if len(codes) <= MOST else torch.linspace(0, len(codes) - 1, MOST).long()
    return Neighbourly(codes[rows], torch.from_numpy(tsne_embedding(codes[rows].numpy(), seed)).double())
