"""The only place that differentiates a potential: energies, forces, stress, Hessian-vector products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.derivatives import (
    Gradients,
    forces_from,
    gradients_of,
    graph_of,
    seen_within,
    stress_from,
    virial_from,
)
from simkit.errors import SimkitError
from simkit.graph import Graph, make_graph
from simkit.neighbours import Neighbours, build_neighbours
from simkit.potential import AtomicOutput, Potential, require_elements
from simkit.system import System


@dataclass(frozen=True)
class Prediction:
    """What was asked of :func:`evaluate`; the rest is None.

    Attributes:
        energy: potential energy in eV, in float64 whatever the potential computes in.
        energies: energy of each atom in eV.
        forces: in eV/Å.
        virial: ``-∂E/∂ε`` in eV.
        stress: ``∂E/∂ε / V`` in eV/Å³, tension positive; NaN for systems that are not periodic along all three axes.
        features: rotation-invariant features of each atom.
    """

    energy: Float[Tensor, " systems"]
    energies: Float[Tensor, " atoms"] | None = None
    forces: Float[Tensor, "atoms 3"] | None = None
    virial: Float[Tensor, "systems 3 3"] | None = None
    stress: Float[Tensor, "systems 3 3"] | None = None
    features: Float[Tensor, "atoms features"] | None = None

    def detach(self) -> Prediction:
        """The same values, cut from the autograd graph."""

        def cut(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.detach()

        return Prediction(
            energy=self.energy.detach(),
            energies=cut(self.energies),
            forces=cut(self.forces),
            virial=cut(self.virial),
            stress=cut(self.stress),
            features=cut(self.features),
        )


OUTPUTS = ("energy", "energies", "forces", "virial", "stress", "features")


def evaluate(
    potential: Potential,
    system: System,
    neighbours: Neighbours | None = None,
    outputs: Sequence[str] = ("energy", "forces"),
    create_graph: bool = False,
) -> Prediction:
    """Evaluate a potential on a batch of systems.

    With ``x' = x (1 + ε)`` and ``cell' = cell (1 + ε)``, ε symmetric: forces are ``-∂E/∂x``, the virial is ``-∂E/∂ε``
    and the stress is ``∂E/∂ε / V``.

    Args:
        potential: any potential or wrapper.
        system: positions in Å; their type must be the potential's.
        neighbours: pairs complete up to the potential's cutoff; built here if absent.
        outputs: any of energy, energies, forces, virial, stress, features. The energy is always there.
        create_graph: keep the autograd graph, to differentiate the results with respect to parameters (training) and
            to positions that require gradients.

    Raises:
        SimkitError: an unknown output, a mismatch of floating-point types or too short a neighbour list.
        UnsupportedElementError: an element that the potential was not made for (checked on the CPU, where it is free).
    """
    _check_request(potential, system, neighbours, outputs)
    if neighbours is None:
        neighbours = build_neighbours(system, potential.cutoff)
    conservative = potential.capabilities.conservative
    need_forces = "forces" in outputs and conservative
    need_virial = "virial" in outputs or "stress" in outputs
    wanted = torch.is_grad_enabled() and create_graph
    with torch.set_grad_enabled(wanted or need_forces or need_virial):
        graph = graph_of(system, neighbours, potential.cutoff, wanted, need_forces or need_virial)
        output = potential(graph)
        energy = total_energy(output, system)
        forces, virial = output.forces, None
        if need_forces or need_virial:
            gradients = gradients_of(energy, graph, create_graph)
            forces = forces_from(gradients, graph) if need_forces else forces
            virial = virial_from(gradients, graph) if need_virial else None
    prediction = Prediction(
        energy=energy,
        energies=output.energies if "energies" in outputs else None,
        forces=forces if "forces" in outputs else None,
        virial=virial if "virial" in outputs else None,
        stress=stress_from(virial, system) if virial is not None and "stress" in outputs else None,
        features=output.features if "features" in outputs else None,
    )
    return prediction if create_graph else prediction.detach()


def evaluate_several(
    potential: Potential,
    energies: Callable[[AtomicOutput], Float[Tensor, "functions atoms"]],
    system: System,
    neighbours: Neighbours | None = None,
    outputs: Sequence[str] = ("energy", "forces"),
    create_graph: bool = False,
) -> tuple[AtomicOutput, list[Prediction]]:
    """Predictions from several energies that are functions of what a potential returns, which is computed once.

    Heads on shared features are an example. The backward passes of all functions are one under ``vmap``.

    Args:
        potential: any conservative potential.
        energies: the energy of each atom, in eV, by each function, from the output of the potential.
        system: as for :func:`evaluate`.
        neighbours: as for :func:`evaluate`.
        outputs: any of energy, energies, forces, virial, stress.
        create_graph: keep the autograd graph, to differentiate the results with respect to parameters (training).

    Returns:
        What the potential returned, and a prediction for each function.

    Raises:
        SimkitError: as :func:`evaluate`.
        UnsupportedElementError: as :func:`evaluate`.
    """
    _check_request(potential, system, neighbours, outputs)
    if not potential.capabilities.conservative:
        raise SimkitError(
            f"this {potential.kind} potential predicts forces directly: forces of functions of its output are not "
            "known. Use a conservative potential"
        )
    if neighbours is None:
        neighbours = build_neighbours(system, potential.cutoff)
    attached = create_graph and torch.is_grad_enabled()
    graph = graph_of(system, neighbours, potential.cutoff, attached, False)

    def totals(vectors: Tensor, positions: Tensor, cell: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        moved = replace(system, positions=positions, cell=cell)
        output = potential(replace(graph, vectors=vectors, system=moved))
        atoms = energies(output)
        zero = torch.zeros(len(atoms), system.n_systems, dtype=torch.float64, device=system.device)
        known = {name: value for name, value in output._asdict().items() if value is not None}
        return zero.index_add(1, system.batch, atoms.double()), {"of functions": atoms, **known}

    variables = (graph.vectors, graph.system.positions, graph.system.cell)
    with torch.set_grad_enabled(attached):
        if {"forces", "virial", "stress"} & set(outputs):
            total, pull_back, known = torch.func.vjp(totals, *variables, has_aux=True)  # type: ignore[misc]
            one_each = torch.eye(len(total), dtype=total.dtype, device=total.device)[:, :, None]
            gradients = torch.vmap(pull_back)(one_each.expand(-1, -1, system.n_systems))
            of_function = [Gradients(*given) for given in zip(*gradients, strict=True)]
        else:
            total, known = totals(*variables)
            of_function = [Gradients(None, None, None)] * len(total)
        predictions = [
            _derived(*given, graph, outputs)
            for given in zip(total, known.pop("of functions"), of_function, strict=True)
        ]
    return AtomicOutput(**known), predictions


def _derived(
    energy: Tensor, energies: Tensor, gradients: Gradients, graph: Graph, outputs: Sequence[str]
) -> Prediction:
    """A prediction from a function's energies and their derivatives."""
    virial = virial_from(gradients, graph) if {"virial", "stress"} & set(outputs) else None
    return Prediction(
        energy=energy,
        energies=energies if "energies" in outputs else None,
        forces=forces_from(gradients, graph) if "forces" in outputs else None,
        virial=virial if "virial" in outputs else None,
        stress=stress_from(virial, graph.system) if virial is not None and "stress" in outputs else None,
    )


def total_energy(output: AtomicOutput, system: System) -> Float[Tensor, " systems"]:
    """Sum of the atoms' energies of each system, accumulated in float64, in eV."""
    energies = output.energies.double()
    return energies.new_zeros(system.n_systems).index_add(0, system.batch, energies)


def energy_function(
    potential: Potential, system: System, neighbours: Neighbours
) -> Callable[[Float[Tensor, "atoms 3"]], Float[Tensor, " systems"]]:
    """The pure function positions (Å) -> energy of each system (eV), for ``torch.func`` transformations."""

    def energy(positions: Float[Tensor, "atoms 3"]) -> Float[Tensor, " systems"]:
        graph = make_graph(replace(system, positions=positions), neighbours)
        graph = seen_within(graph, neighbours, potential.cutoff)
        return total_energy(potential(graph), system)

    return energy


def hessian_vector_product(
    potential: Potential, system: System, neighbours: Neighbours, vector: Float[Tensor, "atoms 3"]
) -> Float[Tensor, "atoms 3"]:
    """``H v`` with ``H = ∂²E/∂x∂x`` in eV/Å², without forming H; costs about two evaluations of the forces."""
    with torch.enable_grad():
        positions = system.positions.detach().requires_grad_()
        energy = energy_function(potential, system, neighbours)(positions)
        if not energy.requires_grad:
            return torch.zeros_like(positions)
        (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True, materialize_grads=True)
        if not gradient.requires_grad:
            return torch.zeros_like(positions)
        (product,) = torch.autograd.grad(gradient, positions, vector, materialize_grads=True)
    return product.detach()


def _check_request(potential: Potential, system: System, neighbours: Neighbours | None, outputs: Sequence[str]) -> None:
    if not isinstance(system, System):
        raise SimkitError(f"expected a System, found {type(system).__name__}: convert it with System.from_ase")
    unknown = [outputs] if isinstance(outputs, str) else [name for name in outputs if name not in OUTPUTS]
    if unknown:
        raise SimkitError(
            f"expected a sequence of outputs among {', '.join(OUTPUTS)}; found {', '.join(map(repr, unknown))}"
        )
    if system.dtype != potential.dtype:
        raise SimkitError(
            f"the potential computes in {potential.dtype}, the system's positions are {system.dtype}: "
            f"convert one of them, e.g. system.to(dtype={potential.dtype})"
        )
    if system.device.type == "cpu" and not torch.compiler.is_compiling():
        require_elements(potential, system)
    if neighbours is not None and neighbours.cutoff < potential.cutoff - 1e-9:
        raise SimkitError(
            f"the neighbour list ends at {neighbours.cutoff} Å, the potential needs {potential.cutoff} Å: "
            "build it with build_neighbours(system, potential.cutoff)"
        )
    if not potential.capabilities.conservative and {"virial", "stress"} & set(outputs):
        raise SimkitError(f"this {potential.kind} potential predicts forces directly and has no stress or virial")
