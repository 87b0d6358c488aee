"""Metrics: pure functions of models, batches and arrays."""
