"""Scheduling of jobs over worker processes and machines."""
