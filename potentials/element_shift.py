"""Constant energies per element added to a potential."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ase.data import atomic_numbers, chemical_symbols

from simkit.errors import SimkitError
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential, symbols
from simkit.potentials.elements import ElementIndex, ReferenceEnergies


class ElementShift(Potential):
    """A potential whose zero of energy is moved by a constant for each element.

    ``E_i = E_i^(potential) + ΔE[Z_i]``; forces and stress do not change. It turns, for instance, total energies into
    formation energies, or aligns two levels of theory before they are compared. The sum is made in float64.

    Args:
        potential: what is shifted.
        energies: ΔE in eV for each element, by chemical symbol. Elements that are missing are not supported.

    Raises:
        SimkitError: a name that is no chemical symbol, or no element that the potential supports.
    """

    kind: ClassVar[str] = "element-shift"

    def __init__(self, potential: Potential, energies: Mapping[str, float]) -> None:
        unknown = [name for name in energies if atomic_numbers.get(name, 0) == 0]
        if unknown:
            raise SimkitError(f"expected chemical symbols such as 'Si' as keys of the energies, found {unknown}")
        shifts = {atomic_numbers[name]: float(value) for name, value in energies.items()}
        inner = potential.capabilities
        elements = tuple(number for number in sorted(shifts) if number in set(inner.elements))
        if not elements:
            raise SimkitError(
                f"expected energies of elements that the {potential.kind} potential supports "
                f"({symbols(inner.elements)}), found {symbols(shifts) or 'none'}"
            )
        super().__init__(
            Capabilities(
                cutoff=inner.cutoff,
                interaction_range=inner.interaction_range,
                elements=elements,
                conservative=inner.conservative,
                outputs=inner.outputs,
                citations=inner.citations,
                conditions=inner.conditions,
            )
        )
        self.potential = potential
        self.index = ElementIndex(elements)
        self.shift = ReferenceEnergies([[shifts[number] for number in elements]])
        self.to(potential.device)

    def forward(self, graph: Graph) -> AtomicOutput:
        """The potential's output with every atom's energy shifted."""
        output = self.potential(graph)
        return output._replace(energies=output.energies + self.shift(self.index(graph.system.numbers)))

    def config(self) -> dict[str, Any]:
        """Specification of what is shifted, and the energies in eV by chemical symbol."""
        names = [chemical_symbols[number] for number in self.capabilities.elements]
        energies = dict(zip(names, self.shift.values[0].tolist(), strict=True))
        return {"potential": self.potential.specification(), "energies": energies}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> ElementShift:
        """Rebuild what is shifted, then shift it."""
        return cls(build(config["potential"]), config["energies"])
