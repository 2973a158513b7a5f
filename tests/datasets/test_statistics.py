"""Statistics against values that are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from simkit.datasets.combine import MemoryDataset
from simkit.datasets.files import open_dataset
from simkit.datasets.reference_energies import fit_reference_energies
from simkit.datasets.statistics import compute_statistics
from simkit.errors import DataError
from tests.datasets.examples import crystals, dataset


def test_perfect_crystal():
    atoms = bulk("Cu", cubic=True, a=3.6)
    atoms.info["energy"] = -12.0
    atoms.arrays["forces"] = np.full((4, 3), 2.0)
    found = compute_statistics(dataset([atoms]), cutoff=3.0)
    assert found.average_neighbours == 12
    assert found.shortest_distance == pytest.approx(3.6 / 2**0.5)
    assert found.shortest_in == "memory:0"
    assert found.rms_force == pytest.approx(2.0)
    assert found.energy_per_atom_mean == pytest.approx(-3.0)
    assert found.reference_energies == {29: pytest.approx(-3.0)}
    assert found.undetermined == ()


def test_least_squares_recovers_known_reference_energies():
    rng = np.random.default_rng(0)
    compositions = {}
    for _ in range(8):
        h, o = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        compositions[((1, h), (8, o))] = [-3.0 * h - 20.0 * o]
    found, undetermined = fit_reference_energies(compositions, {})
    assert found == {1: pytest.approx(-3.0), 8: pytest.approx(-20.0)}
    assert undetermined == ()
    found, _ = fit_reference_energies(compositions, {8: -20.0})
    assert found == {1: pytest.approx(-3.0)}


def test_least_squares_counts_every_frame():
    """The fit over compositions equals that over frames, of which some compositions have more than others."""
    rng = np.random.default_rng(1)
    counts = [(1, 2), (3, 1), (2, 2), (1, 2), (1, 2), (1, 2), (3, 1)]
    energies = [-3.0 * h - 20.0 * o + rng.normal() for h, o in counts]
    compositions: dict = {}
    for (h, o), value in zip(counts, energies, strict=True):
        compositions.setdefault(((1, h), (8, o)), []).append(value)
    found, _ = fit_reference_energies(compositions, {})
    expected = np.linalg.lstsq(np.array(counts, dtype=float), np.array(energies), rcond=None)[0]
    assert [found[1], found[8]] == pytest.approx(expected.tolist(), abs=1e-10)


def test_one_molecule_has_no_unique_reference_energies():
    """Minimum norm: E0 is proportional to the counts."""
    found, undetermined = fit_reference_energies({((1, 2), (8, 1)): [-50.0, -52.0], ((79, 1),): [7.0]}, {})
    assert found == {1: pytest.approx(-51 * 2 / 5), 8: pytest.approx(-51 / 5), 79: pytest.approx(7.0)}
    assert undetermined == (1, 8)


def test_isolated_atoms_set_the_reference_and_nothing_else():
    frames = crystals(6)
    plain = compute_statistics(dataset(frames), cutoff=4.0)
    copper = Atoms("Cu", info={"energy": -0.5})
    found = compute_statistics(dataset([*frames, copper]), cutoff=4.0)
    assert (found.frames, found.atoms) == (6, 24)
    assert found.isolated == {29: -0.5}
    assert found.reference_energies[29] == -0.5
    assert found.reference_source == {29: "isolated atom", 79: "least squares"}
    assert found.average_neighbours == plain.average_neighbours
    assert found.rms_force == plain.rms_force
    given = compute_statistics(dataset(frames), reference_energies={29: 1.0, 79: 2.0})
    assert given.reference_energies == {29: 1.0, 79: 2.0}
    energies = [(frame.get_potential_energy() - np.where(frame.numbers == 29, 1.0, 2.0).sum()) / 4 for frame in frames]
    assert given.interaction_per_atom_mean == pytest.approx(np.mean(energies))
    assert given.interaction_per_atom_std == pytest.approx(np.std(energies))


def test_isolated_atoms_of_one_element_must_agree():
    atoms = [Atoms("Cu", info={"energy": energy}) for energy in (-0.5, -0.5005, -3.0)]
    data = dataset([*crystals(3), *atoms])
    with pytest.raises(DataError, match=r"Cu atom, found -3\.0 eV in memory:5 and -0\.5 eV in memory:3: keep one"):
        compute_statistics(data)
    assert compute_statistics(data, reference_energies={29: -1.0}).reference_energies[29] == -1.0
    assert compute_statistics(dataset([*crystals(3), *atoms[:2]])).isolated == {29: -0.5}


def test_isolated_atoms_of_different_levels_of_theory_may_differ():
    frames = dataset([Atoms("Cu", info={"energy": energy}) for energy in (-3.0, -0.5)])
    data = [
        replace(f, system=replace(f.system, head=torch.tensor([head]))) for f, head in zip(frames, (1, 0), strict=True)
    ]
    assert compute_statistics(MemoryDataset(data)).isolated == {29: -0.5}


def test_average_neighbours_leaves_out_atoms_without_any():
    far = Atoms("Cu3", positions=[[0, 0, 0], [2.5, 0, 0], [50, 0, 0]], info={"energy": 0.0})
    assert compute_statistics(dataset([far]), cutoff=3.0).average_neighbours == 1.0


def test_missing_labels_are_counted_and_nan_refused():
    frames = crystals(4)
    frames[0].calc = None
    data = dataset(frames)
    found = compute_statistics(data)
    assert found.labelled == {"energy": 3, "forces": 3, "stress": 3}
    assert found.to_dict()["labelled_frames"] == found.labelled
    broken = replace(data[1], labels=replace(data[1].labels, energy=torch.tensor([torch.nan])))
    with pytest.raises(DataError, match="memory:1: expected finite energy"):
        compute_statistics(MemoryDataset([broken]))
    with pytest.raises(DataError, match="at least one frame"):
        compute_statistics(MemoryDataset([]))


def test_published_rmd17_ethanol(reference_data):
    found = compute_statistics(open_dataset(reference_data / "rmd17" / "rmd17_ethanol_train_01.npz"), cutoff=5.0)
    assert found.frames == 1000
    assert 9 * found.energy_per_atom_mean == pytest.approx(-4209.625, abs=1e-3)
    assert found.rms_force == pytest.approx(1.19540, abs=1e-5)


def test_published_3bpa(reference_data):
    folder = reference_data / "3bpa"
    found = compute_statistics(open_dataset([folder / "train_300K.xyz", folder / "iso_atoms.xyz"]))
    assert found.reference_energies[6] == pytest.approx(-1029.4889999855063)
    assert set(found.reference_source.values()) == {"isolated atom"}
    assert found.interaction_per_atom_mean == pytest.approx(-4.86, abs=0.02)
