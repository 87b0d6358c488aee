"""A local page on a run: map, paths, dims, rates, samples and health, live or as files opened from disk."""
