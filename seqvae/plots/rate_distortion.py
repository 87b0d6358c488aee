"""The rate-distortion plane, and other metrics over the rate next to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqvae.errors import UserError
from seqvae.evaluation.metrics.keys import axis_of
from seqvae.plots.minimum_rate import Panels, Points, pairs_of, panel
from seqvae.plots.style import (
    FAINT,
    INK,
    SMALL,
    Array,
    colour,
    dashes,
    label_axes,
    legend_beside,
    marker,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Report = Mapping[str, Any]  # an evaluation, with the name of its model as `variant`
DASHED = ("--", ":", "-.")
BESIDE = (
    "neg_elbo",
    "iw_nll",
    "mi_low",
    "token_accuracy",
    "squared_error",
)  # drawn next to the plane, over the rate


def rate_distortion(
    points: Mapping[str, Points],
    lines: Mapping[str, Points] | None = None,
    levels: Mapping[str, float] | None = None,
    panels: Panels | None = None,
) -> Figure:
    """The rate-distortion plane of Alemi et al. 2018.

    Horizontal: rate, vertical: distortion, both in nats per example. Grey lines connect equal sums (-ELBO);
    lower left is better.

    Args:
        points: (rate, distortion) by name: a large mark at the mean, small ones at single seeds.
        lines: points of one checkpoint at many rates, connected in the order of their rates.
        levels: values of -ELBO to compare with, by name, such as a language model's.
        panels: other metrics of the same names over the rate, drawn next to the plane.

    Raises:
        UserError: no point.
    """
    marks = {name: pairs_of(found) for name, found in points.items() if len(found)}
    paths = {name: pairs_of(found) for name, found in (lines or {}).items() if len(found)}
    if not marks and not paths:
        raise UserError("rate_distortion got no point: give runs with a rate (an autoencoder has none)")
    figure, axes, beside = _room(panels or {})
    handles = [_path(axes, i, *item) for i, item in enumerate(paths.items())]
    handles += [_mark(axes, len(paths) + i, *item) for i, item in enumerate(marks.items())]
    _bounds(axes, np.concatenate([*marks.values(), *paths.values()]), (levels or {}).values())
    handles.append(_iso_lines(axes))
    handles += [_level(axes, i, *item) for i, item in enumerate((levels or {}).items())]
    label_axes(axes, "rate (nats)", "distortion (nats)", grid=False)
    for (label, numbers), small in zip((panels or {}).items(), beside, strict=True):
        panel(small, label, numbers, [*paths, *marks], paths)
    legend_beside(figure, handles)
    return figure


def rate_distortion_of(
    reports: Sequence[Report], without_code: Collection[str] = (), beside: bool = False
) -> Figure:
    """The rate-distortion plane of evaluations, with keys `variant`, `rate`, `distortion` and more.

    Evaluations of one checkpoint at several rates have its name under `dial` (a key of saved reports) and are
    connected; the others are one point per seed. The mean -ELBO of the variants `without_code` is a level.
    With `beside`, the metrics of `BESIDE` that were measured are drawn over the rate too.

    Raises:
        UserError: no evaluation with a rate.
    """
    known = [report for report in reports if report.get("rate") is not None]
    lines: dict[str, Points] = {name: _of(known, name, "distortion") for name in _names(known, "dial")}
    names = [name for name in _names(known, "variant", "dial") if name not in lines]
    points = {name: _of(known, name, "distortion") for name in names}
    chosen = [name for name in names if name in without_code]
    levels = {f"-ELBO of {name}": float(np.mean([sum(pair) for pair in points[name]])) for name in chosen}
    panels = {
        label: {name: found for name in [*lines, *names] if (found := _of(known, name, key))}
        for key, label in ((key, axis_of(key)) for key in BESIDE)
        if beside and any(report.get(key) is not None for report in known)
    }
    return rate_distortion(points, lines, levels, panels)


def _names(reports: Iterable[Report], key: str, unless: str = "") -> list[str]:
    found = (report[key] for report in reports if report.get(key) and not report.get(unless))
    return list(dict.fromkeys(found))


def _of(reports: Iterable[Report], name: str, key: str) -> Points:
    """(rate, metric) of a name: one per seed, or one per requested rate, the mean over seeds."""
    own = [r for r in reports if r.get("dial", r["variant"]) == name and r.get(key) is not None]
    groups: dict[Any, list[Report]] = {}
    for place, report in enumerate(own):
        groups.setdefault(report.get("nats", -place), []).append(report)
    return [(_mean(group, "rate"), _mean(group, key)) for group in groups.values()]


def _mean(reports: Iterable[Report], key: str) -> float:
    return float(np.mean([report[key] for report in reports]))


def _room(panels: Panels) -> tuple[Figure, Axes, list[Axes]]:
    """The axes of the plane, and those of the small panels next to it, two per row."""
    if not panels:
        figure = new_figure(7.6, 5.4)
        return figure, figure.subplots(), []
    rows = -(-len(panels) // 2)
    figure = new_figure(13.0, 5.4)
    grid = figure.add_gridspec(rows, 4, width_ratios=(1, 1, 1, 1))
    small = [figure.add_subplot(grid[i // 2, 2 + i % 2]) for i in range(len(panels))]
    return figure, figure.add_subplot(grid[:, :2]), small


def _mark(axes: Axes, i: int, name: str, found: Array) -> Any:
    """Draw one point per seed, and their mean."""
    if len(found) > 1:
        axes.scatter(
            found[:, 0],
            found[:, 1],
            s=9,
            color=colour(i),
            marker=marker(i),
            alpha=0.6,
            linewidths=0,
            zorder=3,
        )
    x, y = found.mean(0)
    look: dict[str, Any] = {"s": 46, "color": colour(i), "edgecolors": "white", "linewidths": 0.7}
    return axes.scatter(x, y, marker=marker(i), zorder=4, label=name, **look)


def _path(axes: Axes, i: int, name: str, found: Array) -> Any:
    found = found[np.argsort(found[:, 0])]
    look: dict[str, Any] = {"color": colour(i), "linestyle": dashes(i), "linewidth": 1.5}
    return axes.plot(*found.T, marker=".", zorder=3, label=name, **look)[0]


def _bounds(axes: Axes, found: Array, levels: Iterable[float]) -> None:
    """Limits with room around all points, from rate 0."""
    right = max(1.0, 1.08 * found[:, 0].max())
    low, high = min([found[:, 1].min(), *levels]), max([found[:, 1].max(), *levels])
    room = max(1.0, 0.08 * (high - low))
    axes.set(xlim=(-0.02 * right, right), ylim=(low - room, high + room))


def _iso_lines(axes: Axes) -> Any:
    """Draw grey lines of equal -ELBO at round numbers, each labelled near its lower end."""
    from matplotlib.ticker import MaxNLocator

    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    look: dict[str, Any] = {"fontsize": SMALL, "color": "#777777", "ha": "center", "va": "center"}
    look |= {"rotation": -45, "transform_rotates_text": True, "rotation_mode": "anchor", "zorder": 1.5}
    paper = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
    for total in MaxNLocator(12).tick_values(low + left, high + right):
        start, end = max(left, total - high), min(right, total - low)
        if end - start < 0.12 * (right - left):
            continue  # a corner has no room for a label
        axes.plot([start, end], [total - start, total - end], color=FAINT, linewidth=0.6, zorder=1)
        place = end - 0.05 * (right - left)
        axes.text(place, total - place, f"{total:g}", bbox=paper, **look)
    return axes.plot([], [], color=FAINT, linewidth=0.6, label="equal -ELBO (nats)")[0]


def _level(axes: Axes, i: int, name: str, total: float) -> Any:
    """Draw a dark line of equal -ELBO."""
    left, right = axes.get_xlim()
    ends = (left, right)
    look: dict[str, Any] = {"color": INK, "linestyle": DASHED[i % len(DASHED)], "linewidth": 1.2}
    drawn = axes.plot(ends, [total - x for x in ends], zorder=2, label=f"{name} ({total:.2f})", **look)
    return drawn[0]
