"""Plots of training curves, and of the gain from z by token position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqvae.errors import UserError
from seqvae.evaluation.metrics.keys import axis_of
from seqvae.plots.style import (
    FAINT,
    INK,
    LABEL,
    colour,
    dashes,
    label_axes,
    legend_beside,
    marker,
    new_figure,
    to_array,
    use_whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Lines = Iterable[Mapping[str, Any]]  # lines of metrics.jsonl
CURVES = ("rate", "distortion", "beta", "active_units")  # keys of metrics.jsonl
AXES = {"beta": "beta, the weight of the KL"}  # a key of training lines that is not a metric
STARTING = 0.1  # first fraction of the steps, whose steep fall would flatten the rest of the curve


def curves(runs: Mapping[str, Lines]) -> Figure:
    """Training curves of one run or several, by name, from the lines of metrics.jsonl.

    Four panels over the step: rate and distortion in nats per example, beta, active units. Faint lines are
    means over training batches, strong lines the validations (no remedies, beta = 1). Training's rate and
    distortion in the first tenth of the steps may exceed the panels at the top.

    Raises:
        UserError: no run, or no line in any.
    """
    given = {name: list(lines) for name, lines in runs.items()}
    if not any(given.values()):
        raise UserError("curves got no line of metrics.jsonl: give a run that has trained some steps")
    figure = new_figure(9.0, 5.6)
    panels = dict(zip(CURVES, figure.subplots(2, 2, sharex=True).ravel(), strict=True))
    handles = []
    for i, (name, lines) in enumerate(given.items()):
        look: dict[str, Any] = {"color": colour(i), "linestyle": dashes(i)}
        for key, axes in panels.items():
            training = {"linewidth": 0.8, "alpha": 0.35} if key != "beta" else {"linewidth": 1.3}
            _curve(axes, _series(lines, "train", key), look | training)
            _curve(axes, _series(lines, "valid", key), look | {"linewidth": 1.5})
        handles += panels["rate"].plot([], [], **look, linewidth=1.5, label=name)
    for key, axes in panels.items():
        label_axes(
            axes,
            "step" if key in ("beta", "active_units") else "",
            AXES.get(key) or axis_of(key),
        )
        _heights(axes, key, given.values())
    legend_beside(figure, [*handles, *_kinds(panels["beta"])])
    return figure


def gain_by_position(gains: Mapping[str, Sequence[float]]) -> Figure:
    """Gain from z by position: nats that a token loses if z is another sentence's, by run.

    Horizontal: the token's position from 1; vertical: nats per token. Zero everywhere: z is ignored.

    Raises:
        UserError: no run, or no position in any.
    """
    if not any(len(row) for row in gains.values()):
        raise UserError("gain_by_position got no numbers: give the gain_by_position of an evaluation")
    figure = new_figure(6.4, 3.4)
    axes = figure.subplots()
    axes.axhline(0, color=FAINT, linewidth=0.8)
    handles = []
    for i, (name, row) in enumerate(gains.items()):
        look = {"color": colour(i), "linestyle": dashes(i), "marker": marker(i), "markersize": 3.5}
        handles += axes.plot(range(1, len(row) + 1), to_array(row), **look, linewidth=1.3, label=name)
    use_whole_numbers(axes.xaxis)
    label_axes(axes, "position of the token", "gain from the own code (nats)")
    if len(gains) > 1:
        legend_beside(figure, handles)
    else:
        axes.set_title(next(iter(gains)), fontsize=LABEL, color=INK, loc="left")
    return figure


def _series(lines: Sequence[Mapping[str, Any]], kind: str, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of a key in the lines of one kind."""
    found = [(m["step"], m[key]) for m in lines if m.get("kind") == kind and m.get(key) is not None]
    return [step for step, _ in found], [value for _, value in found]


def _curve(axes: Axes, series: tuple[list[int], list[float]], look: dict[str, Any]) -> None:
    """Draw a line; a point if there is only one value."""
    axes.plot(*series, **look, marker="." if len(series[0]) == 1 else None)


def _kinds(axes: Axes) -> list[Any]:
    """Legend entries for faint and strong lines."""
    strong = axes.plot([], [], color=INK, linewidth=1.5, label="validation")
    return strong + axes.plot([], [], color=INK, linewidth=0.8, alpha=0.35, label="training batches")


def _heights(axes: Axes, key: str, runs: Iterable[Sequence[Mapping[str, Any]]]) -> None:
    """Limits from zero (except for distortion) to the maximum of validations and later training batches."""
    values, later = [], []
    for lines in runs:
        start = STARTING * max((m["step"] for m in lines), default=0)
        found = [m for m in lines if m.get(key) is not None]
        values += [m[key] for m in found]
        later += [m[key] for m in found if m["step"] > start or m.get("kind") == "valid" or key == "beta"]
    kept = later or values or [1.0]
    kept = [*kept, 1.0] if key == "active_units" else kept
    low, high = min(kept) if key == "distortion" else min(0.0, *kept), max(kept)
    room = 0.05 * (high - low) or 0.5
    axes.set_ylim(low - room, high + room)
    if key == "active_units":
        use_whole_numbers(axes.yaxis)
