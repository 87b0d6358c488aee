"""Plots of latent dims: the aggregated posterior against the prior, and the KL per dim.

Shapes: N examples, D latent dims, M prior samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from seqvae.errors import UserError
from seqvae.plots.style import (
    COLOURS,
    FAINT,
    INK,
    LABEL,
    SMALL,
    Array,
    Numbers,
    label_axes,
    new_figure,
    to_array,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 16  # dims in the posterior plot
BINS = 40
ACTIVE = 0.01  # nats; the bars of dims below are faint


def posterior(
    z: Numbers, kl: Numbers | None = None, prior: Numbers | None = None, panels: int = PANELS
) -> Figure:
    """The aggregated posterior against the prior, one panel per dim, from samples z ~ q(z|x) (N, D).

    Horizontal: the coordinate; vertical: density. Bars are the codes of the data, the line is the prior:
    the standard normal density, or the histogram of samples `prior` (M, D). Panels are sorted and labelled by
    `kl` (D,) in nats, the highest first; at most `panels` are drawn.

    Raises:
        UserError: no codes (N, D), or `kl` or `prior` of another D.
    """
    found = to_array(z)
    if found.ndim != 2 or 0 in found.shape:
        raise UserError(f"posterior got codes of shape {found.shape}: give (N, D)")
    nats = None if kl is None else to_array(kl)
    drawn = None if prior is None else to_array(prior)
    for what, given in (("kl", nats), ("prior draws", drawn)):
        if given is not None and given.shape[-1] != found.shape[1]:
            raise UserError(f"posterior got {what} of shape {given.shape} for codes of {found.shape[1]} dims")
    order = np.arange(found.shape[1]) if nats is None else np.argsort(-nats, kind="stable")
    shown = order[:panels]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(max(3.6, 2.1 * columns), 1.55 * rows + 0.6)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, dim in zip(grid, shown, strict=False):
        _marginal(axes, found[:, dim], None if drawn is None else drawn[:, dim])
        title = f"$z_{{{dim}}}$" + ("" if nats is None else f"  {nats[dim]:.2f} nats")
        label_axes(axes, title=title, grid=False)
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    figure.supxlabel("value of the coordinate", fontsize=LABEL, color=INK)
    figure.supylabel("density", fontsize=LABEL, color=INK)
    handles = [grid[0].patches[0], grid[0].lines[0]]
    names = ["codes of the data", "prior"]
    figure.legend(handles, names, loc="outside upper right", ncols=2, fontsize=SMALL, frameon=False)
    return figure


def kl_per_dim(kl: Numbers) -> Figure:
    """Bars of the KL per dim, the highest first: `kl` (D,) in nats.

    Horizontal: the dim; vertical: its KL in nats. The title gives their sum, and how many exceed
    0.01 nats; the others are faint.

    Raises:
        UserError: `kl` has another shape.
    """
    nats = to_array(kl).astype(float)
    if nats.ndim != 1 or not len(nats):
        raise UserError(f"kl_per_dim got numbers of shape {nats.shape}: give one per dim, (D,)")
    order = np.argsort(-nats, kind="stable")
    figure = new_figure(min(12.0, max(4.0, 0.22 * len(nats) + 1)), 2.8)
    axes = figure.subplots()
    tones = [COLOURS[0] if value > ACTIVE else FAINT for value in nats[order]]
    axes.bar(range(len(nats)), nats[order], color=tones, width=0.8)
    step = -(-len(nats) // 64)  # beyond 64 dims there is no room for every number
    axes.set_xticks(range(0, len(nats), step), [str(d) for d in order[::step]])
    used = int((nats > ACTIVE).sum())
    title = f"rate {nats.sum():.2f} nats, {used} of {len(nats)} dims above {ACTIVE} nats"
    label_axes(axes, "latent dim, sorted by KL", "KL (nats)", title)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", labelsize=SMALL if len(nats) <= 40 else 5.5, length=0)
    axes.set_xlim(-0.8, len(nats) - 0.2)
    return figure


def _marginal(axes: Axes, z: Array, prior: Array | None) -> None:
    """A histogram of codes, and the prior's density as a line."""
    reach = max(3.5, float(np.quantile(np.abs(z), 0.999)))
    edges = np.linspace(-reach, reach, BINS + 1)
    axes.hist(z, edges.tolist(), density=True, color=COLOURS[3])
    middles = np.linspace(-reach, reach, 201)
    heights = np.exp(-0.5 * middles**2) / np.sqrt(2 * np.pi)
    if prior is not None:
        middles = (edges[1:] + edges[:-1]) / 2
        heights = np.histogram(prior, edges, density=True)[0]
    axes.plot(middles, heights, color=COLOURS[0], linewidth=1.3)
