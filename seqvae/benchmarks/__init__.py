"""Benchmarks: speed and memory, each with the limit of this machine measured in the same run."""

from __future__ import annotations

from seqvae.benchmarks.ablation import run_ablation
from seqvae.benchmarks.peers import peer_speeds
from seqvae.benchmarks.plots import draw_curves, draw_profile
from seqvae.benchmarks.report import FIGURES, bench, format_table, profile
from seqvae.benchmarks.sweeps import fit_slopes, measure_curves
from seqvae.benchmarks.threads import wait_policies

__all__ = [
    "FIGURES",
    "bench",
    "draw_curves",
    "draw_profile",
    "fit_slopes",
    "format_table",
    "measure_curves",
    "peer_speeds",
    "profile",
    "run_ablation",
    "wait_policies",
]
