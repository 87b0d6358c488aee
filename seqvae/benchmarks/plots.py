"""Figures of benchmark results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seqvae import plots
from seqvae.benchmarks.sweeps import SWEEPS


def draw_curves(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows of `curves` as a picture of small multiples.

    Raises:
        UserError: no row.
    """
    panels = []
    for name in dict.fromkeys(row["sweep"] for row in rows):
        own = [row for row in rows if row["sweep"] == name]
        lines = {
            line: [(row["at"], row["cost"]) for row in own if row["line"] == line]
            for line in dict.fromkeys(row["line"] for row in own)
        }
        panels.append(plots.Costs(SWEEPS[name].axis, SWEEPS[name].cost, lines, SWEEPS[name].slopes))
    return plots.cost_curves(panels)


def draw_profile(found: Mapping[str, Mapping[str, Any]]) -> Any:
    """The numbers of `profile`, or of `bench` by name, as stacked bars.

    Raises:
        UserError: no numbers.
    """
    return plots.profile({name: figures["step_ms"] for name, figures in found.items()})
