"""Names of the choices that architectures offer and which of them fit together; settings use them without torch."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, get_args

from simkit.errors import SimkitError
from simkit.potentials.irreps import parse_irreps

RadialBasis = Literal["bessel", "gaussian", "chebyshev"]
DistanceTransform = Literal["agnesi", "soft"]
Interaction = Literal["agnostic", "residual", "density", "density_residual", "residual_nonlinear"]
Gate = Literal["silu", "tanh", "abs"]
Repulsion = Literal["inside", "outside"]
"""Where MACE adds nuclear repulsion: inside or outside of the scale and shift."""

Envelope = Literal["polynomial", "cosine"]

MAX_ELL = 12
MAX_CORRELATION = 10
MAX_COUPLING_BYTES = 16e9


def check_mace(config: dict[str, Any]) -> None:
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
    _check_size(config["max_ell"], config["correlation"])
    if config["edge_irreps"] is not None and len(set(parse_irreps(config["edge_irreps"]))) > 1:
        raise SimkitError(f"expected equally many channels of every degree, found edge_irreps {config['edge_irreps']}")
    if config["edge_irreps"] is not None and len(parse_irreps(config["edge_irreps"])) > len(hidden):
        raise SimkitError(f"edge_irreps {config['edge_irreps']} go beyond hidden_irreps {config['hidden_irreps']}")
    parse_irreps(config["readout_mlp"])
    names = (config["first_interaction"], config["interaction"])
    for name in names:
        if name not in get_args(Interaction):
            raise SimkitError(f"expected an interaction among {', '.join(get_args(Interaction))}; found {name!r}")
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


def _check_size(max_ell: int, orders: list[int]) -> None:
    """Refuse products whose couplings would fill the memory."""
    if not 0 <= max_ell <= MAX_ELL:
        raise SimkitError(f"expected max_ell from 0 to {MAX_ELL}, found {max_ell}")
    if min(orders) < 1 or max(orders) > MAX_CORRELATION:
        raise SimkitError(f"expected correlation orders from 1 to {MAX_CORRELATION}, found {orders}")
    needed = coupling_bytes(max_ell, max(orders))
    if needed > MAX_COUPLING_BYTES:
        raise SimkitError(
            f"the couplings of correlation {max(orders)} with max_ell {max_ell} take {needed / 1e9:.3g} GB, more than "
            f"{MAX_COUPLING_BYTES / 1e9:.0f}: decrease one of them; published models have correlation 3 and max_ell 3"
        )


def coupling_bytes(lmax: int, order: int) -> int:
    """Memory that the couplings take for all degrees; it grows like (lmax + 1) to the power of 2·order."""
    numbers = Counter({(degree, (-1) ** degree): 1 for degree in range(lmax + 1)})
    for _ in range(order - 1):
        longer: Counter[tuple[int, int]] = Counter()
        for (left, parity), number in numbers.items():
            for right in range(lmax + 1):
                for degree in range(abs(left - right), left + right + 1):
                    irrep = (degree, parity * (-1) ** right)
                    if order < 4 or irrep[1] == (-1) ** degree:
                        longer[irrep] += number
        numbers = longer
    components = sum((2 * degree + 1) * number for (degree, _), number in numbers.items())
    return 8 * components * (lmax + 1) ** (2 * order)
