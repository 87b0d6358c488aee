"""Numbers against the rate of a model that serves many, and how much rate examples need."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqvae.errors import UserError
from seqvae.plots.style import INK, Array, colour, dashes, label_axes, legend_beside, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]  # (rate, distortion), or (rate, another number)
Panels = Mapping[str, Mapping[str, Points]]  # the name of an axis: numbers against the rate, by model
DASHED = ("--", ":", "-.")
BINS = 24


def minimum_rates(nats: Sequence[float | None], high: float, what: str = "examples") -> Figure:
    """How many nats examples need to come back: a histogram over ln R.

    None is one that does not come back at the highest rate; all of these are one bar right of it.

    Raises:
        UserError: no example.
    """
    if not len(nats):
        raise UserError("needs got no example: give the nats that examples need")
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
    told = [f"median {median:.1f} nats"] if np.isfinite(median) else []
    told += [f"{beyond:,} of {len(nats):,} do not come back at {high:g}"] if beyond else []
    label_axes(axes, "rate needed to come back (nats)", what, ", ".join(told))
    return figure


def against_rate(panels: Panels, levels: Mapping[str, Mapping[str, float]] | None = None) -> Figure:
    """Numbers against the rate, a panel each; `levels` are horizontal lines by panel and name.

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
    """Each name's numbers in the colour of its place: points, a line if `joined`; without a rate a level."""
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
    """A horizontal axis of ln R with ticks at powers of two."""
    axes.set_xscale("log", base=2)
    if rates:
        low, high = np.floor(np.log2(min(rates)) + 1e-3), np.ceil(np.log2(max(rates)) - 1e-3)
        ticks = 2.0 ** np.arange(low, high + 1)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def pairs_of(found: Points) -> Array:
    """(N, 2)."""
    return np.array([(float(x), float(y)) for x, y in found])
