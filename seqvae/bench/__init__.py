"""How fast is it, and how fast could it be here? Every figure comes with its limit, taken in the same run."""

from __future__ import annotations

from seqvae.bench.pictures import draw_curves, draw_profile
from seqvae.bench.report import FIGURES, bench, format_table, profile
from seqvae.bench.sweeps import fit_slopes, measure_curves
from seqvae.bench.tricks import run_ablation

__all__ = [
    "FIGURES",
    "run_ablation",
    "bench",
    "measure_curves",
    "draw_curves",
    "draw_profile",
    "profile",
    "fit_slopes",
    "format_table",
]
