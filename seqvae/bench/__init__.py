"""How fast is it, and how fast could it be here? Every figure comes with its limit, taken in the same run."""

from __future__ import annotations

from seqvae.bench.peers import peer_speeds
from seqvae.bench.pictures import draw_curves, draw_profile
from seqvae.bench.report import FIGURES, bench, profile, table
from seqvae.bench.sweeps import curves, slopes
from seqvae.bench.threads import wait_policies
from seqvae.bench.tricks import ablation

__all__ = [
    "FIGURES",
    "ablation",
    "bench",
    "curves",
    "draw_curves",
    "draw_profile",
    "peer_speeds",
    "profile",
    "slopes",
    "table",
    "wait_policies",
]
