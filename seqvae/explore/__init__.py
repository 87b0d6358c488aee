"""A local page on a run: its map, walks, dims, rates, samples and health, live or as files that open from disk."""
