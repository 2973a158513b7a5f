"""Uncertainty that wraps any potential."""
