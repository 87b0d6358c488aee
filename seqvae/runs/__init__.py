"""The run folder: checkpoints, weights, the log of metrics and the data that it was trained on."""
