"""Cures for ignored codes: one a file."""
