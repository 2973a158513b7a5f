"""The contract of every potential, physical or learned, single or wrapped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from ase.data import chemical_symbols
from jaxtyping import Bool, Float
from torch import Tensor, nn

from simkit.errors import UnsupportedElementError
from simkit.graph import Graph
from simkit.progress import Progress
from simkit.system import System

ALL_ELEMENTS: tuple[int, ...] = tuple(range(1, 119))


@dataclass(frozen=True)
class Output:
    """A quantity that a potential predicts: its unit and whether there is one value per atom or per system."""

    unit: str
    per: Literal["atom", "system"]
    description: str = ""


UNREMARKABLE: Mapping[str, tuple[float, ...]] = {"charge": (0.0,), "spin": (0.0, 1.0)}
"""Conditions that systems may have, and the values that say nothing: neutral; unknown, or a singlet (2S+1)."""

STANDARD_OUTPUTS: Mapping[str, Output] = {
    "energy": Output("eV", "system", "potential energy"),
    "energies": Output("eV", "atom", "energy of each atom; the energy is their sum"),
    "forces": Output("eV/Å", "atom", "negative derivative of the energy with respect to the position"),
    "virial": Output("eV", "system", "negative derivative of the energy with respect to strain"),
    "stress": Output("eV/Å³", "system", "derivative of the energy with respect to strain per volume; tension positive"),
}


@dataclass(frozen=True)
class Capabilities:
    """Facts that a potential declares about itself.

    Attributes:
        cutoff: length in Å of the longest edge that it uses; the graph must hold all shorter ones.
        interaction_range: distance in Å beyond which atoms do not influence each other, ``math.inf`` if there is none.
            For message passing this is the number of layers times the cutoff.
        elements: atomic numbers that it was made for.
        conservative: whether its forces are the derivative of its energy.
        outputs: what it predicts.
        conditions: what its energies depend on beside atoms and cell: charge, spin.
        citations: references (BibTeX keys are not needed: author, journal, year, DOI) to cite when it is used.
    """

    cutoff: float
    interaction_range: float
    elements: tuple[int, ...] = ALL_ELEMENTS
    conservative: bool = True
    outputs: Mapping[str, Output] = field(default_factory=lambda: STANDARD_OUTPUTS)
    citations: tuple[str, ...] = ()
    conditions: tuple[Literal["charge", "spin"], ...] = ()


class AtomicOutput(NamedTuple):
    """What a potential returns for a graph.

    Attributes:
        energies: energy of each atom in eV. float64 is allowed, and advisable, in a float32 model where large
            reference energies are added.
        features: rotation-invariant description of each atom's environment, if the potential has one.
        forces: predicted forces in eV/Å, only of potentials that are not conservative.
        last_layer: features in which the learned energy of each atom is linear, in eV: its derivatives with respect to
            the weights of the final linear maps that lead to it, ``E_i = Σ_k w_k φ_ik + (what depends on no w)``.
    """

    energies: Float[Tensor, " atoms"]
    features: Float[Tensor, "atoms features"] | None = None
    forces: Float[Tensor, "atoms 3"] | None = None
    last_layer: Float[Tensor, "atoms weights"] | None = None


class Potential(nn.Module, ABC):
    """A map from a graph to energies per atom.

    Concrete potentials are final: to change one, wrap it. ``forward`` must

    - ignore every edge that is not shorter than its own cutoff (a graph may be built for a longer one), smoothly;
    - never differentiate, detach or call ``requires_grad_``: :func:`simkit.evaluate` does that;
    - hold no Python state that depends on data, so that ``torch.func``, ``vmap`` and ``torch.compile`` work on it;
    - accept graphs without edges and without atoms.

    ``kind`` names the class in model files; ``config`` returns the JSON-compatible arguments that rebuild it.
    """

    kind: ClassVar[str]

    def __init__(self, capabilities: Capabilities) -> None:
        super().__init__()
        self.capabilities = capabilities

    @abstractmethod
    def forward(self, graph: Graph) -> AtomicOutput:
        """Energies per atom, and features if there are any."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON-compatible constructor arguments; tensors live in the state dict instead."""

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> Potential:
        """Rebuild from :meth:`config`; wrappers call ``build`` on the ``{"kind", "config"}`` of what they wrap."""
        return cls(**config)

    def specification(self) -> dict[str, Any]:
        """``{"kind", "config"}``: what a model file needs, beside the tensors, to rebuild this potential."""
        return {"kind": self.kind, "config": self.config()}

    @property
    def cutoff(self) -> float:
        """Length of the longest edge that is used, in Å."""
        return self.capabilities.cutoff

    @property
    def interaction_range(self) -> float:
        """Distance beyond which atoms do not influence each other, in Å; may be infinite."""
        return self.capabilities.interaction_range

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the coordinates it expects: the least precise one of its tensors."""
        tensors = [*self.parameters(), *self.buffers()]
        kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
        return min(kinds, key=lambda kind: torch.finfo(kind).bits, default=torch.float64)

    @property
    def device(self) -> torch.device:
        """Device of its tensors; the CPU if it has none."""
        tensor = next((t for t in [*self.parameters(), *self.buffers()]), None)
        return torch.device("cpu") if tensor is None else tensor.device


def require_elements(potential: Potential, system: System) -> None:
    """Check that a potential was made for every element of a system.

    Raises:
        UnsupportedElementError: naming the elements that are not supported and the first atoms that have them.
    """
    supported = potential.capabilities.elements
    table = _table_of_elements(supported).to(system.device)
    known = table.index_select(0, system.numbers.clamp(0, len(table) - 1))
    if bool(known.all()):
        return
    unknown = system.numbers[~known].unique().tolist()
    atoms = torch.nonzero(~known)[:5, 0].tolist()
    raise UnsupportedElementError(
        f"this {potential.kind} potential supports {symbols(supported)}; the system also contains {symbols(unknown)} "
        f"(first at atoms {atoms}). Use a potential that was made for these elements, or train one"
    )


class IgnoredConditions:
    """Warns, once for each of charge and spin, that systems have what a potential has no use of.

    Neutral systems and singlets say nothing.

    Args:
        potential: the one that is asked.
        progress: what shows the warning.
    """

    def __init__(self, potential: Potential, progress: Progress) -> None:
        self.kind = potential.kind
        self.progress = progress
        self.ignored = [name for name in UNREMARKABLE if name not in potential.capabilities.conditions]

    def look_at(self, system: System, name: str = "the system") -> None:
        """Warn if a system (or one of a batch) has a charge or spin that is ignored, and was not warned of before."""
        for condition in tuple(self.ignored):
            values = [] if getattr(system, condition) is None else getattr(system, condition).tolist()
            remarkable = next((value for value in values if value not in UNREMARKABLE[condition]), None)
            if remarkable is not None:
                self.ignored.remove(condition)
                self.progress.warn(
                    f"{name} has {condition} {remarkable:g}, which this {self.kind} potential ignores: its energies "
                    f"and forces do not depend on the {condition}. Use a potential that does, or "
                    f"remove info['{condition}']"
                )


@lru_cache
def _table_of_elements(elements: tuple[int, ...]) -> Bool[Tensor, " numbers"]:
    """Whether each atomic number is among ``elements``; the last entry stands for all larger ones."""
    table = torch.zeros(max(elements, default=0) + 2, dtype=torch.bool)
    table[list(elements)] = True
    return table


def symbols(numbers: Iterable[int]) -> str:
    """Chemical symbols of atomic numbers, for messages; long lists are shortened."""
    names = [chemical_symbols[n] if 0 <= n < len(chemical_symbols) else f"Z={n}" for n in sorted(numbers)]
    return " ".join(names) if len(names) <= 20 else f"{len(names)} elements ({' '.join(names[:8])} ...)"
