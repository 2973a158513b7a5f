"""Time integration of systems of ordinary differential equations ``du/dt = f(u, t)``, as flows."""

from simkit.solvers.ode.adaptive import AdaptiveRungeKutta, AdaptiveState
from simkit.solvers.ode.runge_kutta import OdeState, RungeKutta
from simkit.solvers.ode.tableaus import BOGACKI_SHAMPINE, DORMAND_PRINCE, EULER, HEUN, RK4, SSPRK3, TSITOURAS, Tableau

__all__ = [
    "BOGACKI_SHAMPINE",
    "DORMAND_PRINCE",
    "EULER",
    "HEUN",
    "RK4",
    "SSPRK3",
    "TSITOURAS",
    "AdaptiveRungeKutta",
    "AdaptiveState",
    "OdeState",
    "RungeKutta",
    "Tableau",
]
