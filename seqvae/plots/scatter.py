"""Scatter plots of codes: two dims of the code, or t-SNE.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqvae.errors import UserError
from seqvae.evaluation.metrics.optional_deps import import_sklearn
from seqvae.plots.style import (
    COLOURS,
    FAINT,
    INK,
    LABEL,
    SCALE,
    SMALL,
    Array,
    Numbers,
    colour,
    label_axes,
    legend_beside,
    marker,
    new_figure,
    to_array,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = 20  # with more distinct integers a label is a quantity
WORDS = 12  # up to this many classes are named inside the plane
LOOKED_AT, NEAR = 1000, 18  # points used to place a class name; fraction of the median distance that is near


def codes(
    points: Numbers, labels: Numbers | None = None, name: str = "", dims: Sequence[int] = (0, 1)
) -> Figure:
    """Posterior means (N, 2) coloured by `labels` (N,), whose name is `name`.

    Axes: the dims `dims` on the same scale, with circles at 1, 2 and 3 standard deviations of the
    standard normal prior. Strings and up to 20 integers are classes with a legend; other numbers get a
    colour bar; NaN is a missing label, in grey.

    Raises:
        UserError: codes of another size, or not one label per example.
    """
    where = _plane(points)
    figure, axes = _scatter(where, labels, name)
    _circles(axes)
    label_axes(axes, f"$z_{{{dims[0]}}}$", f"$z_{{{dims[1]}}}$", grid=False)
    return figure


def tsne(points: Numbers, labels: Numbers | None = None, name: str = "") -> Figure:
    """An embedding (N, 2) of codes coloured by `labels` (N,), from `tsne_embedding`.

    The axes have no ticks: only the neighbourhoods of t-SNE have a meaning (van der Maaten and
    Hinton 2008).

    Raises:
        UserError: points of another size, or not one label per example.
    """
    figure, axes = _scatter(_plane(points), labels, name)
    label_axes(axes, "t-SNE, first coordinate (no unit)", "t-SNE, second coordinate (no unit)", grid=False)
    axes.set(xticks=[], yticks=[])
    return figure


def tsne_embedding(codes: Numbers, seed: int = 0) -> Array:
    """Embed codes (N, D) into a plane (N, 2) by scikit-learn's t-SNE, perplexity 30 (less for few codes).

    Raises:
        UserError: scikit-learn is not installed, or fewer than 5 codes.
    """
    found = to_array(codes).astype(np.float32)
    if found.ndim != 2 or len(found) < 5:
        raise UserError(f"t-SNE got codes of shape {found.shape}: give (N, D) with at least 5 of them")
    made = import_sklearn("manifold").TSNE(perplexity=min(30, (len(found) - 1) / 3), random_state=seed)
    return np.asarray(made.fit_transform(found))


def _plane(points: Numbers) -> Array:
    found = to_array(points).astype(float)
    if found.ndim != 2 or found.shape[1] != 2 or not len(found):
        raise UserError(f"a plane got points of shape {found.shape}: give (N, 2), or embed codes by t-SNE")
    return found


def _scatter(where: Array, labels: Numbers | None, name: str) -> tuple[Figure, Axes]:
    figure = new_figure(6.2, 5.0)
    axes = figure.subplots()
    size = float(np.clip(18000 / len(where), 5, 30))
    looks: dict[str, Any] = {"s": size, "alpha": 0.8, "linewidths": 0}
    axes.set_aspect("equal", adjustable="datalim")
    if labels is None:
        axes.scatter(*where.T, color=COLOURS[0], **looks)
        return figure, axes
    given = to_array(labels)
    if given.shape != (len(where),):
        raise UserError(f"got labels of shape {given.shape} for {len(where)} points: give one each")
    known = given.astype(str) != "nan"
    axes.scatter(*where[~known].T, color=FAINT, **looks)
    if _is_classes(given[known]):
        _classes(figure, axes, where[known], given[known], name, looks)
    else:
        drawn = axes.scatter(
            where[known, 0], where[known, 1], c=given[known].astype(float), cmap=SCALE, **looks
        )
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
        bar.set_label(name, fontsize=LABEL, color=INK)
        bar.solids.set_alpha(1)  # type: ignore[union-attr]
        bar.ax.tick_params(labelsize=SMALL)
    return figure, axes


def _is_classes(labels: Array) -> bool:
    """Whether labels are classes: strings, booleans, or few distinct integers."""
    if labels.dtype.kind not in "iuf":
        return True
    return bool((labels == np.round(labels)).all()) and len(np.unique(labels)) <= KINDS


def _classes(
    figure: Figure, axes: Axes, where: Array, labels: Array, name: str, looks: dict[str, Any]
) -> None:
    """Draw one colour per class, named in the legend and, if there are few, at one of its points."""
    kinds: Sequence[Any] = np.unique(labels).tolist()
    handles = []
    for i, kind in enumerate(kinds):
        inside = where[labels == kind]
        shown = f"{kind:g}" if isinstance(kind, float) else str(kind)
        axes.scatter(*inside.T, color=colour(i), marker=marker(i), **looks)
        handles.append(axes.scatter([], [], color=colour(i), marker=marker(i), s=25, label=shown))
        if len(kinds) <= WORDS:
            _write(axes, _middle(inside), shown)
    legend_beside(figure, handles, name)


def _middle(points: Array) -> Array:
    """The point (2,) of (N, 2) with the densest neighbourhood; the median of two clusters is in neither."""
    some = points[:LOOKED_AT]
    apart = np.square(some[:, None] - some[None]).sum(-1)  # (n, n)
    near = np.exp(-apart / max(np.median(apart) / NEAR, 1e-12)).sum(1)
    middle: Array = some[near.argmax()]
    return middle


def _write(axes: Axes, place: Array, text: str) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.5, foreground="white")]
    axes.text(
        place[0], place[1], text, fontsize=LABEL, color=INK, ha="center", va="center", path_effects=halo
    )


def _circles(axes: Axes) -> None:
    """Draw circles at one, two and three standard deviations of the prior."""
    turn = np.linspace(0, 2 * np.pi, 200)
    for radius in (1, 2, 3):
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=FAINT, linewidth=0.7, zorder=0.5)
