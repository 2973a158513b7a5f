"""Time integration: maps ``(state, dt) -> state``, their compositions, and the loop that runs them."""

from simkit.flows.flow import Flow, Splitting, repeated, symmetric, yoshida4

__all__ = ["Flow", "Splitting", "repeated", "symmetric", "yoshida4"]
