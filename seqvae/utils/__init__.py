"""Helpers that know nothing of models: files, devices, signals, memory, tables."""
