"""A run on disk: checkpoints, weights and the log of metrics."""
