"""Doors of other libraries to a trained run; saved runs name the classes here, so these never move."""
