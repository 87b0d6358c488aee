"""Data sets: reading, splitting, caching and batching examples of all modalities."""
