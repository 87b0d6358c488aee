"""Plots over the rate of a variable-rate model, and of the minimum rates of examples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqvae.errors import UserError
from seqvae.plots.style import INK, Array, colour, dashes, label_axes, legend_beside, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]  # (rate, distortion), or (rate, another metric)
Panels = Mapping[str, Mapping[str, Points]]  # {axis name: {model: points over the rate}}
DASHED = ("--", ":", "-.")
BINS = 24


def minimum_rates(nats: Sequence[float | None], high: float, what: str = "examples") -> Figure:
    """Histogram over ln R of the rates that examples need to be reconstructed.

    None is an example that is not reconstructed at the highest rate; these are one bar right of it.

    Raises:
        UserError: no example.
    """
    if not len(nats):
        raise UserError("minimum_rates got no example: give the nats that examples need")
    found = np.array([value for value in nats if value is not None], dtype=float)
    beyond = len(nats) - len(found)
    low = min([*found, high / 2])
    edges = np.geomspace(low, high, BINS + 1)
    figure = new_figure(6.4, 3.4)
    axes = figure.subplots()
    axes.hist(found, bins=edges, color=colour(0))  # type: ignore[arg-type]
    if beyond:
        left = high * 1.03
        axes.bar(left, beyond, left * ((high / low) ** (1 / BINS) - 1), align="edge", color=colour(1))
    _doubling(axes, [low, high])
    median = float(np.median([np.inf if value is None else value for value in nats]))
    notes = [f"median {median:.1f} nats"] if np.isfinite(median) else []
    notes += [f"{beyond:,} of {len(nats):,} are not reconstructed at {high:g}"] if beyond else []
    label_axes(axes, "rate needed for reconstruction (nats)", what, ", ".join(notes))
    return figure


def against_rate(panels: Panels, levels: Mapping[str, Mapping[str, float]] | None = None) -> Figure:
    """Metrics over the rate, one panel each; `levels` are horizontal lines by panel and name.

    Raises:
        UserError: no panel.
    """
    if not panels:
        raise UserError("against_rate got no numbers: give some against the rate")
    figure = new_figure(3.4 * len(panels) + 1.6, 3.4)
    names = list(dict.fromkeys(name for numbers in panels.values() for name in numbers))
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for (label, numbers), axes in zip(panels.items(), drawn, strict=True):
        panel(axes, label, numbers, names, names)
        for i, (name, value) in enumerate((levels or {}).get(label, {}).items()):
            axes.axhline(value, color=INK, linestyle=DASHED[i % len(DASHED)], linewidth=1.0, label=name)
    handles = {h.get_label(): h for axes in drawn for h in axes.get_legend_handles_labels()[0]}
    legend_beside(figure, list(handles.values()))
    return figure


def panel(
    axes: Axes, label: str, numbers: Mapping[str, Points], names: Sequence[str], joined: Collection[str]
) -> None:
    """Draw each name's points, with a line if `joined`; a name without a positive rate is a level."""
    rates = [rate for found in numbers.values() for rate, _ in found if rate > 0]
    for name, found in numbers.items():
        i, pairs = names.index(name), pairs_of(found)
        if pairs[:, 0].max() <= 0:
            axes.axhline(float(pairs[:, 1].mean()), color=colour(i), linestyle=dashes(i), linewidth=1.0)
            continue
        pairs = pairs[np.argsort(pairs[:, 0])]
        line = dashes(i) if name in joined else "none"
        axes.plot(*pairs.T, color=colour(i), linestyle=line, marker="o", markersize=3.5, label=name)
    _doubling(axes, rates)
    label_axes(axes, "rate (nats)", label)


def _doubling(axes: Axes, rates: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic with ticks at powers of two."""
    axes.set_xscale("log", base=2)
    if rates:
        low, high = np.floor(np.log2(min(rates)) + 1e-3), np.ceil(np.log2(max(rates)) - 1e-3)
        ticks = 2.0 ** np.arange(low, high + 1)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def pairs_of(found: Points) -> Array:
    """Points as an array (N, 2)."""
    return np.array([(float(x), float(y)) for x, y in found])
