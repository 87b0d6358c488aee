"""Training: the loop, one update, CUDA graph capture, optimizers, selection of the best checkpoint."""
