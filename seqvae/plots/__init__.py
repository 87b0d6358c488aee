"""Figures from arrays and dicts: pure functions that return a matplotlib figure.

No function here depends on models or runs, and none changes pyplot's global state. matplotlib (the extra
`plots`) is imported when the first figure is made.
"""

from __future__ import annotations

from seqvae.plots.costs import Costs, cost_curves, profile
from seqvae.plots.curves import curves, gain_by_position
from seqvae.plots.image_grids import (
    interpolation,
    manifold,
    manifold_axis,
    rate_ladder,
    reconstructions,
    rows_of,
    samples,
    traversals,
    traversals_beside,
)
from seqvae.plots.latent_dims import kl_per_dim, posterior
from seqvae.plots.minimum_rate import against_rate, minimum_rates
from seqvae.plots.rate_distortion import rate_distortion, rate_distortion_of
from seqvae.plots.scatter import codes, tsne, tsne_embedding
from seqvae.plots.style import check_picture, save

__all__ = [
    "Costs",
    "against_rate",
    "check_picture",
    "codes",
    "cost_curves",
    "curves",
    "gain_by_position",
    "interpolation",
    "kl_per_dim",
    "manifold",
    "manifold_axis",
    "minimum_rates",
    "posterior",
    "profile",
    "rate_distortion",
    "rate_distortion_of",
    "rate_ladder",
    "reconstructions",
    "rows_of",
    "samples",
    "save",
    "traversals",
    "traversals_beside",
    "tsne",
    "tsne_embedding",
]
