"""Training on several ranks: collectives, shards of the global batch, batch statistics, FSDP."""
