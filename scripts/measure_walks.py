"""Compares the paths of a walk between sentences: `python scripts/measure_walks.py RUN [--pairs 200]`."""

from __future__ import annotations

import argparse

from seqvae.analysis.walks import WalkSettings, compare_paths
from seqvae.inference import TextVAE
from seqvae.utils.tables import align_columns


def main() -> None:
    """Print a row per path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run folder of text")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--points", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    how = WalkSettings(pairs=given.pairs, points=given.points, seed=given.seed)
    rows = compare_paths(TextVAE.from_pretrained(given.run), how)
    head = tuple(rows[0])
    cells = [tuple(v if isinstance(v, str) else f"{v:.3f}" for v in row.values()) for row in rows]
    print("\n".join(align_columns(head, cells)))


if __name__ == "__main__":
    main()
