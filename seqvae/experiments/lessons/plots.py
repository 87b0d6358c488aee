"""Plot helpers that lessons share: lines, bars, log ticks, and figures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from seqvae.plots.style import DPI, INK, SMALL, Array, colour, dashes, marker, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Series = tuple[Sequence[float], Sequence[float]]  # x and y


def lines(axes: Axes, series: Mapping[str, Series], marked: bool = True) -> list[Any]:
    """Plot one line per name; returns the legend's handles."""
    drawn = []
    for i, (name, (x, y)) in enumerate(series.items()):
        look: dict[str, Any] = {"color": colour(i), "linestyle": dashes(i), "linewidth": 1.5, "label": name}
        drawn += axes.plot(x, y, **look, marker=marker(i * 10) if marked else None, markersize=4)
    return drawn


def bars(axes: Axes, heights: Mapping[str, Mapping[str, float]], digits: int = 2) -> list[Any]:
    """Plot labelled bars, one group per key, names side by side; returns the legend's handles."""
    groups, width, drawn = list(next(iter(heights.values()))), 0.8 / len(heights), []
    for i, (name, found) in enumerate(heights.items()):
        places = np.arange(len(groups)) + (i - (len(heights) - 1) / 2) * width
        bar = axes.bar(places, [found[group] for group in groups], 0.9 * width, color=colour(i), label=name)
        axes.bar_label(bar, fmt=f"%.{digits}f", fontsize=SMALL, color=INK, padding=2)
        drawn.append(bar)
    axes.set_xticks(range(len(groups)), groups)
    axes.margins(y=0.12)
    return drawn


def side_by_side(*figures: Figure) -> Figure:
    """Combine rendered figures into one, left to right, without resampling."""
    drawn = [_render(figure) for figure in figures]
    height, gap = max(len(image) for image in drawn), DPI // 6
    padded = [_pad(image, height, gap if i else 0) for i, image in enumerate(drawn)]
    whole = np.concatenate(padded, axis=1)
    figure = new_figure(whole.shape[1] / DPI, height / DPI)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(whole, interpolation="nearest", aspect="auto")
    axes.axis("off")
    return figure


def legend_above(axes: Axes, handles: Sequence[Any]) -> None:
    """Put a legend above the axes."""
    axes.legend(
        handles=list(handles), loc="lower left", bbox_to_anchor=(0, 1), fontsize=SMALL, frameon=False, ncols=2
    )


def _render(figure: Figure) -> Array:
    from matplotlib.image import imread

    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.05)
    file.seek(0)
    return np.asarray(imread(file))[..., :3]


def _pad(image: Array, height: int, left: int) -> Array:
    above = (height - len(image)) // 2
    sides = ((above, height - len(image) - above), (left, 0), (0, 0))
    return np.pad(image, sides, constant_values=1.0)


def log_ticks(axis: Axis, axes: Axes) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    (axes.set_yscale if axis is axes.yaxis else axes.set_xscale)("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())
