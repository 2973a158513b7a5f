"""Building blocks by name, and checks of their combination."""

from __future__ import annotations

from typing import Any

from simkit.errors import SimkitError
from simkit.potentials.mace.interaction import Interaction, NonLinearInteraction, Widths
from simkit.potentials.mace.irreps import parse_irreps

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


def check_architecture(config: dict[str, Any]) -> None:
    """Check the constructor arguments of a MACE against each other.

    Raises:
        SimkitError: naming the arguments that do not fit.
    """
    hidden = parse_irreps(config["hidden_irreps"])
    if len(set(hidden)) > 1:
        raise SimkitError(
            f"expected equally many channels of every degree, found hidden_irreps {config['hidden_irreps']}"
        )
    if len(hidden) - 1 > config["max_ell"]:
        raise SimkitError(f"hidden_irreps {config['hidden_irreps']} go beyond max_ell={config['max_ell']}: increase it")
    if config["layers"] < 1 or len(config["correlation"]) != config["layers"]:
        raise SimkitError(
            f"expected one correlation order for each of {config['layers']} layers (at least one), "
            f"found {config['correlation']}"
        )
    if min(config["correlation"]) < 1:
        raise SimkitError(f"expected correlation orders of at least 1, found {config['correlation']}")
    if config["edge_irreps"] is not None and len(set(parse_irreps(config["edge_irreps"]))) > 1:
        raise SimkitError(f"expected equally many channels of every degree, found edge_irreps {config['edge_irreps']}")
    if config["edge_irreps"] is not None and len(parse_irreps(config["edge_irreps"])) > len(hidden):
        raise SimkitError(f"edge_irreps {config['edge_irreps']} go beyond hidden_irreps {config['hidden_irreps']}")
    names = (config["first_interaction"], config["interaction"])
    for name in names:
        if name not in INTERACTIONS and name != "residual_nonlinear":
            raise SimkitError(
                f"expected an interaction among {', '.join(INTERACTIONS)}, residual_nonlinear; found {name!r}"
            )
    if "residual_nonlinear" in names and config["apply_cutoff"]:
        raise SimkitError(
            "residual_nonlinear has biases in its radial network, so that only apply_cutoff=False makes messages "
            "vanish at the cutoff: pass apply_cutoff=False"
        )
    if config["zbl"] not in (None, "inside", "outside"):
        raise SimkitError(f"expected zbl to be none, inside or outside; found {config['zbl']!r}")
    if config["default_head"] not in config["heads"] or len(set(config["heads"])) < len(config["heads"]):
        raise SimkitError(
            f"expected distinct heads with the default among them, found {config['heads']} and "
            f"{config['default_head']!r}"
        )
