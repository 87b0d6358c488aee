"""The wing that reads and writes tokens."""
