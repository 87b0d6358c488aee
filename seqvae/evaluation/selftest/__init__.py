"""Checks of estimators against closed forms."""
