"""Elastic constants and equation of state of a trained potential beside DFT.

    python -P benchmarks/mlearn/properties.py MODEL STRAINED.xyz

STRAINED.xyz is the training file: its crystals with strained cells and atoms on their sites carry DFT stresses. C11 and
C12 are slopes of cubic fits to the stress under uniaxial strain, C44 (clamped ions) of the shear stress under shear, at
zero strain, for the reference and for the model on the same cells. The model's lattice constant and bulk modulus come
from a Birch-Murnaghan fit to its own energies; the reference lattice constant is that of the unstrained axes, the
reference bulk modulus (C11 + 2 C12)/3.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from simkit import Potential, System, load_model
from simkit.analysis.batches import evaluate_many
from simkit.analysis.equation_of_state import fit_equation_of_state, scaled_cells, volumes_of
from simkit.datasets.base import Dataset
from simkit.datasets.files import open_dataset
from simkit.units import GPA

ON_SITE = 0.02  # Å: largest distance of an atom from its site


@dataclass(frozen=True)
class Point:
    """One strained perfect crystal: strain (symmetric, about the unstrained cell) and stresses in GPa."""

    strain: np.ndarray
    reference: np.ndarray
    model: np.ndarray


def perfect_crystals(dataset: Dataset) -> list[tuple[Atoms, np.ndarray]]:
    """Frames with the fractional coordinates of the first one that has no forces, and their reference stress."""
    labelled = [frame for frame in dataset if frame.labels.forces is not None and frame.labels.stress is not None]
    still = next(frame for frame in labelled if float(frame.labels.forces.abs().max()) < 1e-3)
    sites = still.system.to_ase()[0].get_scaled_positions()
    found = []
    for frame in labelled:
        atoms = frame.system.to_ase()[0]
        if len(atoms) != len(sites):
            continue
        shift = atoms.get_scaled_positions() - sites
        shift -= np.round(shift)
        if np.abs(shift - shift.mean(0)).max() * atoms.cell.lengths().max() < ON_SITE:
            found.append((atoms, frame.labels.stress[0].double().numpy()))
    return found


def unstrained_length(crystals: list[tuple[Atoms, np.ndarray]]) -> float:
    """The length of lattice vector that most cells share."""
    lengths = np.round(np.concatenate([atoms.cell.lengths() for atoms, _ in crystals]), 3)
    values, counts = np.unique(lengths, return_counts=True)
    return float(values[counts.argmax()])


def points(crystals: list[tuple[Atoms, np.ndarray]], potential: Potential) -> list[Point]:
    length = unstrained_length(crystals)
    predictions = evaluate_many(potential, [System.from_ase(atoms) for atoms, _ in crystals], ("energy", "stress"))
    made = []
    for (atoms, reference), prediction in zip(crystals, predictions, strict=True):
        assert prediction.stress is not None
        gradient = atoms.cell.array / length - np.eye(3)
        made.append(Point(0.5 * (gradient + gradient.T), reference / GPA, prediction.stress[0].numpy() / GPA))
    return made


def slope(strain: list[float], stress: list[float]) -> float:
    return float(np.polynomial.Polynomial.fit(strain, stress, 3).convert().coef[1])


def elastic_constants(data: list[Point], source: str) -> dict[str, float]:
    """C11, C12, C44 in GPa of a cubic crystal."""
    normal: list[tuple[float, float, float]] = []
    shear: list[tuple[float, float]] = []
    for point in data:
        stress = getattr(point, source)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            rest = point.strain.copy()
            rest[i, i] = 0
            if np.abs(rest).max() < 1e-3:
                normal.append((point.strain[i, i], stress[i, i], 0.5 * (stress[j, j] + stress[k, k])))
            rest = point.strain.copy()
            rest[i, j] = rest[j, i] = 0
            if np.abs(rest).max() < 6e-3 and abs(point.strain[i, j]) > 1e-4:
                shear.append((2 * point.strain[i, j], stress[i, j]))
    strain, parallel, across = (list(column) for column in zip(*normal, strict=True))
    engineering, shear_stress = (list(column) for column in zip(*shear, strict=True))
    return {
        "C11": slope(strain, parallel),
        "C12": slope(strain, across),
        "C44": slope(engineering, shear_stress),
    }


def equation_of_state(crystal: Atoms, length: float, potential: Potential) -> tuple[float, float]:
    """Length of the cell in Å and bulk modulus in GPa."""
    cubic = crystal.copy()
    cubic.set_cell(np.eye(3) * length, scale_atoms=True)
    systems = scaled_cells(System.from_ase(cubic), np.linspace(0.97, 1.03, 9) ** 3)
    energies = np.array([float(one.energy[0]) for one in evaluate_many(potential, systems, ("energy",))])
    found = fit_equation_of_state(volumes_of(systems), energies)
    return found.volume ** (1 / 3), found.bulk_modulus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("strained")
    arguments = parser.parse_args()
    potential = load_model(arguments.model, dtype="float64").requires_grad_(False)
    crystals = perfect_crystals(open_dataset(arguments.strained))
    length = unstrained_length(crystals)
    data = points(crystals, potential)
    reference, model = elastic_constants(data, "reference"), elastic_constants(data, "model")
    reference["B"] = (reference["C11"] + 2 * reference["C12"]) / 3
    fitted, model["B"] = equation_of_state(crystals[0][0], length, potential)
    print(f"{len(data)} strained perfect crystals")
    print("quantity   DFT      model    difference")
    for name in ("C11", "C12", "C44", "B"):
        difference = model[name] / reference[name] - 1
        print(f"{name:4} GPa  {reference[name]:7.1f}  {model[name]:7.1f}  {100 * difference:+6.1f} %")
    print(f"cell Å    {length:7.3f}  {fitted:7.3f}  {100 * (fitted / length - 1):+6.2f} %")


if __name__ == "__main__":
    main()
