"""Plots made of images: pairs, grids, strips, the manifold, and traversals of single dims.

Shapes: N examples, R rows, S steps, C channels (1 or 3, or left out), H, W image, D latent dims. Pixels
are in [0, 1]; values outside are clipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from seqvae.errors import UserError
from seqvae.plots.style import INK, LABEL, SMALL, Array, Numbers, new_figure, to_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = 0.62  # inches per image
GREY = 0.82  # grey between images, visible next to black and white
ROWS = 12  # of traversals


def reconstructions(originals: Numbers, returned: Numbers, columns: int = 10) -> Figure:
    """Pairs of images (N, C, H, W): each original above its reconstruction.

    No axes but the names of the rows; `columns` pairs per row.

    Raises:
        UserError: no images, or different numbers of the two.
    """
    above, below = _pixels(originals, 1), _pixels(returned, 1)
    if above.shape != below.shape:
        raise UserError(f"reconstructions got pictures of shape {above.shape} and {below.shape}: give pairs")
    columns = min(columns, len(above))
    blocks = [part for i in range(0, len(above), columns) for part in (above[i:], below[i:])]
    grid = np.stack([_fill_row(block, columns) for block in blocks])
    figure = _wall(grid)
    names = ["original", "returned"] * (len(blocks) // 2)
    _name_rows(figure.axes[0], grid, names)
    return figure


def samples(pictures: Numbers, columns: int = 10) -> Figure:
    """A grid of images (N, C, H, W), row by row in the given order; no axes.

    Raises:
        UserError: no images.
    """
    flat = _pixels(pictures, 1)
    columns = min(columns, len(flat))
    return _wall(np.stack([_fill_row(flat[i:], columns) for i in range(0, len(flat), columns)]))


def interpolation(strips: Numbers, names: Sequence[str] = ()) -> Figure:
    """Strips of images (R, S, C, H, W): one row per path between two codes, optionally named.

    The horizontal axis is t, from 0 at the first code to 1 at the second.

    Raises:
        UserError: no images, or not one name per row.
    """
    grid = _pixels(strips, 2)
    if names and len(names) != len(grid):
        raise UserError(f"interpolation got {len(names)} names for {len(grid)} rows: give one per row")
    figure = _wall(grid)
    shares = [f"{t:.3g}" for t in np.linspace(0, 1, grid.shape[1])]
    _name_columns(figure.axes[0], grid, shares, "t, fraction of the way")
    _name_rows(figure.axes[0], grid, names or [""] * len(grid))
    return figure


def rate_ladder(originals: Numbers, strips: Numbers, rates: Sequence[float]) -> Figure:
    """Images (N, C, H, W) and their reconstructions at T rates (N, T, C, H, W), one row per image.

    Raises:
        UserError: sizes that do not fit together.
    """
    first, grid = _pixels(originals, 1), _pixels(strips, 2)
    if grid.shape[:2] != (len(first), len(rates)):
        raise UserError(
            f"rate_ladder got {grid.shape[0]} x {grid.shape[1]} pictures for {len(first)} originals "
            f"and {len(rates)} rates: give one row per original and one picture per rate"
        )
    grid = np.concatenate([first[:, None], grid], 1)
    figure = _wall(grid)
    names = ["original", *(f"{nats:g}" for nats in rates)]
    _name_columns(figure.axes[0], grid, names, "rate (nats)")
    return figure


def rows_of(strips: Numbers, names: Sequence[str]) -> Figure:
    """Rows of images (R, S, C, H, W) with a name each: the same S examples, treated in R ways.

    Raises:
        UserError: no images, or not one name per row.
    """
    grid = _pixels(strips, 2)
    if len(names) != len(grid):
        raise UserError(f"rows_of got {len(names)} names for {len(grid)} rows: give one per row")
    figure = _wall(grid)
    _name_rows(figure.axes[0], grid, names, large=True)
    return figure


def manifold_axis(n: int) -> Array:
    """Coordinates (n,) with equal prior mass between neighbours: Gaussian inverse CDF at (i + ½)/n.

    The grid of the manifold figure of Kingma and Welling (2014).
    """
    return np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])


def manifold(pictures: Numbers, axis: Numbers, dims: Sequence[int] = (0, 1)) -> Figure:
    """A plane of the code: images (R, R, C, H, W) with z[dims[0]] = axis[column], z[dims[1]] = axis[row].

    Both axes show the coordinate; that of rows grows upwards. `axis` comes from `manifold_axis`.

    Raises:
        UserError: the images are not a square grid, or the axis has another length.
    """
    grid, places = _pixels(pictures, 2), to_array(axis)
    if not len(grid) == grid.shape[1] == len(places):
        raise UserError(
            f"manifold got {len(grid)} x {grid.shape[1]} pictures and an axis of {len(places)}: "
            "give as many rows and columns as the axis has values"
        )
    grid = grid[::-1]
    figure = _wall(grid)
    shown = range(len(places)) if len(places) <= 8 else np.linspace(0, len(places) - 1, 7).round().astype(int)
    names = [f"{z:.1f}" if i in shown else "" for i, z in enumerate(places)]
    _name_columns(figure.axes[0], grid, names, f"$z_{{{dims[0]}}}$")
    _name_rows(figure.axes[0], grid, names[::-1], f"$z_{{{dims[1]}}}$")
    return figure


def traversals(pictures: Numbers, kl: Numbers, values: Numbers, rows: int = ROWS) -> Figure:
    """Traversals: images (D, S, C, H, W), where row d changes only dim d of the code.

    Rows are sorted and labelled by `kl` (D,) in nats, the highest first; at most `rows` are shown. The
    horizontal axis shows the `values` (S,) of the dim, commonly -3 … 3.

    Raises:
        UserError: sizes that do not fit together.
    """
    return traversals_beside({"": (pictures, kl)}, values, rows)


def traversals_beside(
    models: Mapping[str, tuple[Numbers, Numbers]], values: Numbers, rows: int = ROWS
) -> Figure:
    """The `traversals` of several models in one figure, left to right: {name: (pictures, kl)}.

    Raises:
        UserError: sizes that do not fit together.
    """
    steps = to_array(values)
    panels = {name: _by_nats(*model, len(steps), rows) for name, model in models.items()}
    grids = [grid for grid, _ in panels.values()]
    figure = _make_figure(max(grids, key=len), len(grids))
    every = figure.subplots(1, len(grids), squeeze=False)[0]
    for axes, (name, (grid, names)) in zip(every, panels.items(), strict=True):
        _paint(axes, grid)
        axes.set_title(name, fontsize=LABEL, color=INK)
        axes.set_anchor("N")
        _name_columns(axes, grid, [f"{v:.3g}" for v in steps], "value of the coordinate")
        _name_rows(axes, grid, names, "", large=True)
    return figure


def _by_nats(pictures: Numbers, kl: Numbers, steps: int, rows: int) -> tuple[Array, list[str]]:
    """Images (R, S, H, W, 3) of the `rows` dims with the highest KL, and their row labels."""
    grid, nats = _pixels(pictures, 2), to_array(kl)
    if grid.shape[:2] != (len(nats), steps):
        raise UserError(
            f"traversals got {grid.shape[0]} x {grid.shape[1]} pictures for {len(nats)} dims "
            f"and {steps} values: give one row per dim and one picture per value"
        )
    order = np.argsort(-nats, kind="stable")[:rows]
    return grid[order], [f"$z_{{{d}}}$  {nats[d]:.2f} nats" for d in order]


def _pixels(values: Numbers, lead: int) -> Array:
    """Images (…, H, W, 3) in [0, 1] from (…, C, H, W) or (…, H, W), with `lead` leading dims."""
    found = to_array(values)
    if found.ndim == lead + 2:
        found = np.expand_dims(found, lead)
    if found.ndim != lead + 3 or found.shape[lead] not in (1, 3) or 0 in found.shape:
        wanted = "(N, C, H, W)" if lead == 1 else "(R, S, C, H, W)"
        raise UserError(f"pictures have shape {found.shape}: give {wanted}, C 1 or 3, at least one")
    found = np.clip(np.moveaxis(found, lead, -1).astype(float), 0, 1)
    return np.broadcast_to(found, (*found.shape[:-1], 3))


def _fill_row(row: Array, columns: int) -> Array:
    """The first `columns` images; a short row is padded with NaN, which is drawn empty."""
    row = row[:columns]
    return np.concatenate([row, np.full((columns - len(row), *row.shape[1:]), np.nan)])


def _gap(grid: Array) -> int:
    return max(1, int(grid.shape[2]) // 28)


def _wall(grid: Array) -> Figure:
    """A figure of a grid of images (R, S, H, W, 3)."""
    figure = _make_figure(grid)
    _paint(figure.subplots(), grid)
    return figure


def _make_figure(grid: Array, panels: int = 1) -> Figure:
    """An empty figure with room for `panels` grids of images (R, S, H, W, 3), side by side."""
    rows, columns, height, width, _ = grid.shape
    size = max(CELL, 6 / columns) if columns < 10 else CELL  # few images are shown larger
    size = min(size, 1.1, 12 / max(rows, columns))
    return new_figure(panels * (max(3.0, columns * size * width / height) + 1.2), rows * size + 0.5)


def _paint(axes: Axes, grid: Array) -> None:
    """Draw a grid of images (R, S, H, W, 3) as one image, with thin lines between them."""
    rows, columns, height, width, _ = grid.shape
    gap = _gap(grid)
    wall = np.ones((rows * (height + gap) + gap, columns * (width + gap) + gap, 3))
    for r, c in np.argwhere(~np.isnan(grid[:, :, 0, 0, 0])):
        top, left = gap + r * (height + gap), gap + c * (width + gap)
        wall[top - gap : top + height + gap, left - gap : left + width + gap] = GREY
        wall[top : top + height, left : left + width] = grid[r, c]
    axes.imshow(wall, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _name_rows(axes: Axes, grid: Array, names: Sequence[str], label: str = "", large: bool = False) -> None:
    """Put a name left of each row of images."""
    gap = _gap(grid)
    places = [gap + r * (grid.shape[2] + gap) + grid.shape[2] / 2 - 0.5 for r in range(len(grid))]
    axes.set_yticks(places, names, fontsize=LABEL if large else SMALL, color=INK)
    axes.set_ylabel(label, fontsize=LABEL, color=INK)
    axes.tick_params(length=0)


def _name_columns(axes: Axes, grid: Array, names: Sequence[str], label: str) -> None:
    """Put a name below each column of images, and name the axis."""
    gap = _gap(grid)
    places = [gap + c * (grid.shape[3] + gap) + grid.shape[3] / 2 - 0.5 for c in range(grid.shape[1])]
    axes.set_xticks(places, names, fontsize=SMALL, color=INK)
    axes.set_xlabel(label, fontsize=LABEL, color=INK)
    axes.tick_params(length=0)
