"""Time integration: maps ``(state, dt) -> state``, their compositions, and the loop that runs them."""

from simkit.flows.checkpoint import Checkpoint
from simkit.flows.flow import Flow, Splitting, repeated, symmetric, yoshida4
from simkit.flows.integrate import Result, integrate
from simkit.flows.observers import Every, Observer
from simkit.flows.status import Guard, Outcome, Status

__all__ = [
    "Checkpoint",
    "Every",
    "Flow",
    "Guard",
    "Observer",
    "Outcome",
    "Result",
    "Splitting",
    "Status",
    "integrate",
    "repeated",
    "symmetric",
    "yoshida4",
]
