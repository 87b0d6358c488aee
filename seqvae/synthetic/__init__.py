"""Data drawn from known factors: the embedded defaults."""
