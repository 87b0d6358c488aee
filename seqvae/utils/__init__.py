"""Helpers that do not depend on models: files, devices, signals, memory, tables."""
