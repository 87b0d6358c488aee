"""What is measured: pure functions of models and batches."""
