"""Plots of compute costs: over sizes, and by part of an update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqvae.errors import UserError
from seqvae.plots.minimum_rate import Points, pairs_of
from seqvae.plots.style import INK, LABEL, SMALL, Array, colour, dashes, label_axes, legend_beside, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GUIDE = "#999999"
POWERS: dict[float, str] = {0: "constant", 1: "∝ size", -1: "∝ 1 / size"}
COLUMNS = 3
LIGHT = ("#88CCEE", "#DDCC77")  # colours on which dark text is more legible than white
NARROW = 0.045  # below this fraction the number does not fit into the bar
PARTS = {  # key of `step_ms`: its name
    "data": "data",
    "encoder": "encoder",
    "decoder": "decoder",
    "output": "output layer",
    "optimizer": "clipping, optimizer",
    "rest": "the rest",
}


@dataclass(frozen=True)
class Costs:
    """One panel: the axes' names, measured lines by name, and the slopes that theory predicts."""

    size: str
    cost: str
    lines: Mapping[str, Points]
    slopes: Sequence[float] = ()


def cost_curves(panels: Sequence[Costs]) -> Figure:
    """Costs over sizes, both axes logarithmic: a power law is a straight line, its power the slope.

    Grey lines have the slopes that theory predicts if one term dominates; they pass through the last point of
    the first line (a falling one through its first point).

    Raises:
        UserError: no panel, or a panel without a point.
    """
    if not panels or not all(panel.lines and all(panel.lines.values()) for panel in panels):
        raise UserError("cost_curves got no numbers: give a cost at some size for each line")
    rows = -(-len(panels) // COLUMNS)
    columns = min(COLUMNS, len(panels))
    figure = new_figure(3.2 * columns + 1.3, 2.7 * rows)
    drawn = figure.subplots(rows, columns, squeeze=False).ravel()
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    for axes, panel in zip(drawn, panels, strict=False):
        _panel(axes, panel, names)
    for axes in drawn[len(panels) :]:
        axes.set_visible(False)
    look: Any = {"color": GUIDE, "linestyle": "--", "linewidth": 1.0}
    guide = drawn[0].plot([], [], label="slope in theory", **look)
    known = {line.get_label(): line for axes in drawn for line in axes.lines}
    legend_beside(figure, [*(known[name] for name in names), *guide])
    return figure


def _panel(axes: Axes, panel: Costs, names: Sequence[str]) -> None:
    axes.set(xscale="log", yscale="log")
    lines = {name: pairs_of(points) for name, points in panel.lines.items()}
    for name, points in lines.items():
        i = names.index(name)
        look: Any = {"color": colour(i), "linestyle": dashes(i), "marker": "o", "markersize": 3.5}
        axes.plot(*points.T, label=name, zorder=3, **look)
    _limits(axes, list(lines.values()))
    for slope in panel.slopes:
        _guide(axes, next(iter(lines.values())), slope)
    _plain_ticks(axes, sorted({float(x) for points in lines.values() for x in points[:, 0]}))
    label_axes(axes, panel.size, panel.cost)


def _limits(axes: Axes, lines: Sequence[Array]) -> None:
    """Limits with room around all points, at least a decade of costs, so that a flat line looks flat."""
    sizes, costs = ([float(v) for points in lines for v in points[:, i]] for i in (0, 1))
    middle, half = (min(costs) * max(costs)) ** 0.5, max(10.0, 2 * max(costs) / min(costs)) ** 0.5
    axes.set(xlim=(min(sizes) / 1.25, max(sizes) * 1.25), ylim=(middle / half, middle * half))


def _guide(axes: Axes, points: Array, slope: float) -> None:
    """Draw a grey line of a slope, labelled near the end away from the point that it passes through."""
    x, y = (float(v) for v in (points[0] if slope < 0 else points[-1]))
    ends = np.array([points[0, 0], points[-1, 0]])
    heights = y * (ends / x) ** slope
    axes.plot(ends, heights, color=GUIDE, linestyle="--", linewidth=1.0, zorder=2)
    name = POWERS.get(slope, f"∝ size$^{{{slope:g}}}$")
    low, high = np.array(axes.get_ylim()) * (1.3, 1 / 1.3)
    seen = ends if not slope else np.sort(x * (np.clip(heights, low, high) / y) ** (1 / slope))
    place = seen[0] ** (0.8 if slope >= 0 else 0.2) * seen[1] ** (0.2 if slope >= 0 else 0.8)
    height = y * (place / x) ** slope
    look: Any = {"fontsize": SMALL, "color": "#555555", "ha": "center", "va": "center", "zorder": 2.5}
    look |= {"rotation_mode": "anchor", "transform_rotates_text": True}
    angle = float(np.degrees(np.arctan2(slope * height / place, 1)))
    paper = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
    axes.text(place, height, name, rotation=angle, bbox=paper, **look)


def _plain_ticks(axes: Axes, sizes: Sequence[float]) -> None:
    """Ticks at measured sizes, at most five of them; costs as plain numbers, not as powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    step = -(-len(sizes) // 5)
    shown = sizes[::-1][::step]
    axes.set_xticks(shown, [_short(size) for size in shown])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _short(size: float) -> str:
    if size >= 1e6 and size % 1e5 == 0:
        return f"{size / 1e6:g}M"
    return f"{size / 1000:g}k" if size >= 1000 and size % 100 == 0 else f"{size:g}"


def profile(steps: Mapping[str, Mapping[str, float]]) -> Figure:
    """Time of an update by part: one bar per name, with the fractions of `PARTS` in its `step_ms`.

    Parts are timed separately and may sum to more than the whole: fractions are of the parts' sum.

    Raises:
        UserError: no times.
    """
    if not steps or not all(sum(step.get(part, 0.0) for part in PARTS) > 0 for step in steps.values()):
        raise UserError("profile got no times: give the step_ms of `seqvae bench --json` by name")
    figure = new_figure(8.6, 1.1 + 0.42 * len(steps))
    axes = figure.subplots()
    for row, step in enumerate(steps.values()):
        for left, part, share in _shares(step):
            _block(axes, row, left, share, colour(list(PARTS).index(part)))
    axes.set_yticks(range(len(steps)), [f"{name}\n{step['whole']:,.0f} ms" for name, step in steps.items()])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    label_axes(axes, "share of an update's time (%)", grid=False)
    axes.tick_params(axis="y", length=0, labelsize=LABEL)
    legend_beside(figure, _patches())
    return figure


def _shares(step: Mapping[str, float]) -> Iterator[tuple[float, str, float]]:
    """Start, key and fraction of each part, as fractions of the sum."""
    total, left = sum(step.get(part, 0.0) for part in PARTS), 0.0
    for part in PARTS:
        share = step.get(part, 0.0) / total
        yield left, part, share
        left += share


def _block(axes: Axes, row: int, left: float, share: float, paint: str) -> None:
    axes.barh(row, 100 * share, left=100 * left, height=0.62, color=paint, edgecolor="white", linewidth=0.8)
    if share >= NARROW:
        ink = INK if paint in LIGHT else "white"
        place: Any = {"ha": "center", "va": "center"}
        axes.text(100 * (left + share / 2), row, f"{100 * share:.0f}", fontsize=SMALL, color=ink, **place)


def _patches() -> list[Any]:
    from matplotlib.patches import Patch

    return [Patch(color=colour(i), label=name) for i, name in enumerate(PARTS.values())]
