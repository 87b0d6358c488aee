"""Experiments with several runs: comparisons, lessons, and the scheduling of their jobs."""
