"""Building blocks by name."""

from __future__ import annotations

from simkit.potentials.mace.interaction import Interaction, NonLinearInteraction, Widths

INTERACTIONS: dict[str, tuple[bool, bool]] = {
    "agnostic": (False, False),
    "residual": (True, False),
    "density": (False, True),
    "density_residual": (True, True),
}
"""For each linear interaction, whether it has a skip connection and a learned density."""


def build_interaction(name: str, widths: Widths, average_neighbours: float) -> Interaction | NonLinearInteraction:
    """An interaction block by its name."""
    if name == "residual_nonlinear":
        return NonLinearInteraction(widths)
    residual, density = INTERACTIONS[name]
    return Interaction(widths, residual, density, average_neighbours)
