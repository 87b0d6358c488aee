"""Training: the loop, one update, the optimizer, selection of the best checkpoint."""
