"""Adapters to other libraries. Saved runs name the classes here, so their paths must not change."""
