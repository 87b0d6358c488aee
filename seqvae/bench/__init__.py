"""How fast is it, and how fast could it be here? Every figure comes with its limit, taken in the same run."""

from __future__ import annotations

from seqvae.bench.report import FIGURES, bench, table

__all__ = ["FIGURES", "bench", "table"]
