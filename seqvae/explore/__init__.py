"""A local page on a run: map, walks, dims, rates, samples and health, live or as files opened from disk."""
