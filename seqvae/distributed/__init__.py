"""Several processes on one run: collectives, shares of the global batch, its statistics, FSDP."""
