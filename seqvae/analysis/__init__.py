"""Measurements of a finished run for tables and figures."""
