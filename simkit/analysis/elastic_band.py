"""Reaction paths by nudged elastic band: ASE's method, with all images evaluated at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import FIRE
from jaxtyping import Float
from numpy import ndarray

from simkit.analysis.batches import budget_for, evaluate_many
from simkit.errors import InvalidSystemError, SimkitError
from simkit.potential import Potential
from simkit.relaxation.memory import Budget
from simkit.system import System

Interpolation = Literal["idpp", "linear"]
OUTPUTS = ("energy", "forces")

SAME = 0.01
"""Distance in Å; ends of a path with no atom that moves as far are the same minimum."""


class BatchedNEB(NEB):
    """ASE's NEB that evaluates all images in one call of the potential; any of ASE's optimisers drives it.

    Args:
        images: the band, its ends included; calculators are not needed and are replaced by results.
        potential: any potential.
        budget: what is evaluated together; measured if absent.
        options: ``k``, ``climb`` and so on, as ASE has them. The method is ``improvedtangent``.
    """

    def __init__(
        self, images: list[Atoms], potential: Potential, *, budget: Budget | None = None, **options: Any
    ) -> None:
        super().__init__(images, **({"method": "improvedtangent"} | options))
        if self.remove_rotation_and_translation or self.parallel:
            raise SimkitError(
                "expected neither remove_rotation_and_translation nor parallel: images are evaluated together, as "
                "they are"
            )
        self.potential = potential
        systems = [System.from_ase(image) for image in images]
        self.budget = budget or budget_for(potential, systems, OUTPUTS)
        self.evaluations = 0
        self._evaluated = [np.full_like(image.positions, np.nan) for image in images]

    def get_forces(self) -> Float[ndarray, "rows 3"]:
        """Forces on the band in eV/Å, after one evaluation of all images that have moved."""
        moved = [
            index
            for index, image in enumerate(self.images)
            if not np.array_equal(self._evaluated[index], image.positions)
        ]
        if moved:
            attach_results(self.potential, [self.images[index] for index in moved], self.budget)
            self.evaluations += 1
        for index in moved:
            self._evaluated[index] = self.images[index].get_positions()
        return super().get_forces()


def attach_results(potential: Potential, images: Sequence[Atoms], budget: Budget | None = None) -> None:
    """Give each image its energy and forces, evaluated together; changes the images."""
    predictions = evaluate_many(potential, [System.from_ase(image) for image in images], OUTPUTS, budget=budget)
    for image, prediction in zip(images, predictions, strict=True):
        assert prediction.forces is not None
        image.calc = SinglePointCalculator(
            image, energy=float(prediction.energy[0]), forces=prediction.forces.numpy().copy()
        )


@dataclass(frozen=True)
class ReactionPath:
    """A path of least energy between two minima.

    Attributes:
        images: with energies and forces, from the first to the last minimum.
        distance: length of the path up to each image, in Å: norm of the change of all coordinates.
        energy: of each image, relative to the first, in eV.
        slope: derivative of the energy along the path at each image, in eV/Å.
        fmax: largest force on the band, in eV/Å.
        converged: whether that is below what was asked for.
        steps: of the optimiser.
        evaluations: calls of the potential, each for all images.
    """

    images: list[Atoms]
    distance: Float[ndarray, " images"]
    energy: Float[ndarray, " images"]
    slope: Float[ndarray, " images"]
    fmax: float
    converged: bool
    steps: int
    evaluations: int

    @property
    def barrier(self) -> float:
        """Highest energy above the first minimum, in eV."""
        return float(self.energy.max())

    @property
    def reverse_barrier(self) -> float:
        """Highest energy above the last minimum, in eV."""
        return float(self.energy.max() - self.energy[-1])


def interpolated(first: Atoms, last: Atoms, images: int, method: Interpolation = "idpp") -> list[Atoms]:
    """A band from one structure to another, by the shortest periodic displacements.

    Args:
        first, last: of the same atoms in the same order, in the same cell.
        images: between the two.
        method: ``linear``, or ``idpp``, which keeps atoms from passing through one another.

    Raises:
        InvalidSystemError: different atoms or cells, or twice the same positions.
    """
    if first.numbers.tolist() != last.numbers.tolist():
        raise InvalidSystemError(
            f"expected the same atoms in the same order at both ends, found {first.symbols} and {last.symbols}"
        )
    if not (np.allclose(first.cell.array, last.cell.array, atol=1e-8) and (first.pbc == last.pbc).all()):
        raise InvalidSystemError("expected the same cell at both ends: relax atoms only, in one cell")
    moves = find_mic(last.positions - first.positions, first.cell, first.pbc)[1]
    if moves.max() < SAME:
        raise InvalidSystemError(
            f"expected two different ends, found the same within {moves.max():.1g} Å: choose other structures, or, if "
            "they have relaxed into the same minimum, ends that are deeper in their own"
        )
    band = [first.copy() for _ in range(images + 1)] + [last.copy()]
    neb = NEB(band, method="improvedtangent")
    periodic = bool(first.pbc.any())
    neb.interpolate("linear", mic=periodic, apply_constraint=False)
    if method == "idpp":
        neb.interpolate("idpp", mic=periodic, apply_constraint=False)
    return band


def reaction_path(
    potential: Potential,
    band: Sequence[Atoms],
    *,
    spring: float = 0.1,
    climb: bool = True,
    fmax: float = 0.05,
    max_steps: int = 500,
    budget: Budget | None = None,
    observe: Callable[[BatchedNEB, int], None] | None = None,
) -> ReactionPath:
    """Relax a band by nudged elastic band, with the improved tangent and a climbing image.

    Each image feels the true force across the path, ``F - (F·τ)τ``, and springs along it; in the end the highest one
    climbs with ``F - 2(F·τ)τ``.

    Args:
        potential: any potential.
        band: images with relaxed ends, e.g. from :func:`interpolated`; they are not changed.
        spring: constant of the springs, in eV/Å².
        climb: let the highest image climb once the largest force is below five times ``fmax``.
        fmax: largest force on the band at the end, in eV/Å.
        max_steps: of the optimiser (FIRE).
        budget: what is evaluated together; measured if absent.
        observe: called with the band and the number of the step, after each step.

    Reference: G. Henkelman, B. P. Uberuaga, H. Jónsson, J. Chem. Phys. 113, 9901 (2000), doi:10.1063/1.1329672.
    """
    if len(band) < 3:
        raise InvalidSystemError(f"expected at least one image between the ends, found {len(band) - 2}")
    neb = BatchedNEB([image.copy() for image in band], potential, k=spring, budget=budget)
    steps = 0
    for climbing, threshold in ((False, 5 * fmax if climb else fmax), (True, fmax)):
        if climbing and not climb:
            break
        neb.climb = climbing
        optimiser = FIRE(neb, logfile=None)
        if observe is not None:
            before = steps
            optimiser.attach(lambda: observe(neb, before + optimiser.nsteps))  # noqa: B023 - called within this loop
        optimiser.run(fmax=threshold, steps=max_steps - steps)
        steps += optimiser.nsteps
    return _path(neb, fmax, steps)


def _path(neb: BatchedNEB, fmax: float, steps: int) -> ReactionPath:
    largest = float(np.linalg.norm(neb.get_forces(), axis=1).max())
    periodic = bool(neb.images[0].pbc.any())
    moves = []
    for before, after in pairwise(neb.images):
        vectors = after.positions - before.positions
        if periodic:
            vectors = find_mic(vectors, before.cell, before.pbc)[0]
        moves.append(vectors)
    lengths = np.array([np.linalg.norm(move) for move in moves])
    tangents = [moves[0], *(a + b for a, b in pairwise(moves)), moves[-1]]
    slope = [
        -float(np.vdot(image.get_forces(apply_constraint=False), tangent) / np.linalg.norm(tangent))
        for image, tangent in zip(neb.images, tangents, strict=True)
    ]
    energies = np.array([image.get_potential_energy() for image in neb.images])
    return ReactionPath(
        images=neb.images,
        distance=np.concatenate([[0.0], np.cumsum(lengths)]),
        energy=energies - energies[0],
        slope=np.array(slope),
        fmax=largest,
        converged=largest <= fmax,
        steps=steps,
        evaluations=neb.evaluations,
    )
