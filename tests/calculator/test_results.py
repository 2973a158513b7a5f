"""What the calculator returns, when it computes, and what it refuses."""

import copy
import pickle
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.db import connect

from simkit.calculator import Calculator
from simkit.errors import InvalidSystemError, SimkitError, SimkitWarning, UnsupportedElementError
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import save_model
from simkit.potentials.stillinger_weber import StillingerWeber


class Direct(Potential):
    """Forces that are no derivatives, and an energy that depends on the charge."""

    kind = "direct"

    def __init__(self) -> None:
        super().__init__(Capabilities(3.0, 3.0, conservative=False, conditions=("charge",)))
        self.calls = 0

    def forward(self, graph: Graph) -> AtomicOutput:
        self.calls += 1
        positions = graph.system.positions
        energies = positions.new_ones(graph.system.n_atoms)
        if graph.system.charge is not None:
            energies = energies + graph.system.charge[graph.system.batch]
        return AtomicOutput(energies, positions.square(), -positions)

    def config(self) -> dict[str, float]:
        return {}


@pytest.fixture
def silicon() -> Atoms:
    atoms = bulk("Si", a=5.5, cubic=True)
    atoms.rattle(0.1, seed=5)
    atoms.calc = Calculator(StillingerWeber.silicon())
    return atoms


def test_agrees_with_lennard_jones_of_ase() -> None:
    """For a cluster smaller than the distance where either program starts to switch off."""
    atoms = Atoms("Ar13", fcc111("Ar", (2, 2, 4), a=5.3).positions[:13], cell=[20, 22, 24])
    atoms.rattle(0.2, seed=2)
    expected = atoms.copy()
    expected.calc = AseLennardJones(sigma=3.4, epsilon=0.0104, rc=60.0)
    atoms.calc = Calculator(LennardJones(epsilon=0.0104, sigma=3.4, cutoff=60.0))
    shift = len(atoms) * (len(atoms) - 1) / 2 * 4 * 0.0104 * ((3.4 / 60) ** 12 - (3.4 / 60) ** 6)
    assert atoms.get_potential_energy() == pytest.approx(expected.get_potential_energy() + shift, rel=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(atoms.get_stress(), expected.get_stress(), rtol=0, atol=1e-15)


def test_derivatives_of_the_energy(silicon: Atoms) -> None:
    silicon.set_cell(silicon.cell.array @ [[1.01, 0.02, 0], [0, 0.99, -0.03], [0.01, 0, 1]], scale_atoms=True)
    np.testing.assert_allclose(silicon.get_forces(), calculate_numerical_forces(silicon, eps=1e-4), rtol=0, atol=1e-6)
    np.testing.assert_allclose(silicon.get_stress(), calculate_numerical_stress(silicon, eps=1e-5), rtol=0, atol=1e-8)


def test_energies_add_up_and_results_are_float64(silicon: Atoms) -> None:
    silicon.get_forces()
    results = silicon.calc.results
    assert results["energies"].sum() == pytest.approx(results["energy"], rel=1e-14)
    assert silicon.get_potential_energy(force_consistent=True) == results["energy"]
    assert results["stress"].shape == (6,)
    assert {type(results["energy"])} == {float}
    assert {results[name].dtype for name in ("energies", "forces", "stress")} == {np.dtype(np.float64)}


def test_computes_once_and_only_what_is_asked() -> None:
    atoms = Atoms("He2", [[0, 0, 0], [1, 0, 0]], calculator=Calculator(Direct()))
    potential = atoms.calc.potential
    atoms.get_potential_energy()
    assert "forces" not in atoms.calc.results
    atoms.get_potential_energies()
    assert potential.calls == 1
    atoms.get_forces()
    atoms.get_potential_energy()
    atoms.get_forces()
    assert potential.calls == 2
    atoms.positions[0, 0] += 0.1
    atoms.get_forces()
    assert potential.calls == 3


def test_forces_and_stress_come_together(silicon: Atoms) -> None:
    silicon.get_forces()
    assert not silicon.calc.calculation_required(silicon, ["energy", "forces", "stress"])


def test_charge_in_info_counts_as_a_change() -> None:
    atoms = Atoms("He", info={"charge": 1}, calculator=Calculator(Direct()))
    assert atoms.get_potential_energy() == 2
    atoms.info["charge"] = 2
    assert atoms.get_potential_energy() == 3
    del atoms.info["charge"]
    assert atoms.get_potential_energy() == 1


def test_charge_and_spin_that_are_ignored_are_said_once(silicon: Atoms, recwarn: pytest.WarningsRecorder) -> None:
    silicon.info |= {"charge": 1, "spin": 1}
    with pytest.warns(SimkitWarning, match="has charge 1, which this stillinger-weber potential ignores"):
        silicon.get_potential_energy()
    silicon.rattle(0.01)
    silicon.get_potential_energy()
    assert not recwarn.list


def test_neighbour_list_is_reused(silicon: Atoms) -> None:
    for _ in range(10):
        silicon.rattle(0.01, rng=np.random.RandomState(0))
        silicon.get_potential_energy()
    assert silicon.calc._neighbours.builds == 1
    fresh = silicon.copy()
    fresh.calc = Calculator(StillingerWeber.silicon(), skin=0.0)
    np.testing.assert_allclose(silicon.get_forces(), fresh.get_forces(), rtol=0, atol=1e-12)


def test_stress_of_a_slab_is_per_volume_of_its_cell() -> None:
    atoms = fcc111("Ar", (2, 2, 3), a=5.3, vacuum=6.0)
    atoms.calc = Calculator(LennardJones(epsilon=0.0104, sigma=3.4, cutoff=7.0))
    thin, virial = atoms.get_stress(), atoms.get_stress() * atoms.get_volume()
    atoms.center(vacuum=12.0, axis=2)
    np.testing.assert_allclose(atoms.get_stress() * atoms.get_volume(), virial, rtol=0, atol=1e-12)
    assert np.abs(atoms.get_stress()[:2]).max() < np.abs(thin[:2]).max()


@pytest.mark.parametrize("cell", [None, [0, 0, 10], [[1, 0, 0], [0, 1, 0], [1, 1, 0]]])
def test_no_stress_without_a_volume(cell: list | None) -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [3.8, 0, 0]], cell=cell)
    atoms.calc = Calculator(LennardJones(epsilon=0.0104, sigma=3.4, cutoff=7.0))
    assert atoms.get_forces().shape == (2, 3)
    with pytest.raises(PropertyNotImplementedError, match="cell with a volume"):
        atoms.get_stress()


def test_direct_forces_have_no_stress_and_no_hessian() -> None:
    atoms = Atoms("He2", [[0, 0, 1], [1, 0, 0]], cell=[5, 5, 5], pbc=True, calculator=Calculator(Direct()))
    np.testing.assert_array_equal(atoms.get_forces(), -atoms.positions)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    with pytest.raises(PropertyNotImplementedError, match="not derivatives"):
        atoms.calc.get_hessian(atoms)


def test_hessian(silicon: Atoms) -> None:
    hessian = silicon.calc.get_hessian(silicon)
    assert hessian.shape == (8, 3, 8, 3)
    np.testing.assert_allclose(hessian.sum(2), 0, atol=1e-10)
    moved, forces = silicon.copy(), []
    moved.calc = silicon.calc
    for step in (1e-4, -2e-4):
        moved.positions[3, 1] += step
        forces.append(moved.get_forces())
    np.testing.assert_allclose(hessian[3, 1], (forces[1] - forces[0]) / 2e-4, rtol=0, atol=1e-5)


def test_features() -> None:
    atoms = Atoms("He2", [[0, 0, 1], [2, 0, 0]], calculator=Calculator(Direct()))
    np.testing.assert_array_equal(atoms.calc.get_features(atoms), atoms.positions**2)


def test_no_features(silicon: Atoms) -> None:
    with pytest.raises(PropertyNotImplementedError, match="stillinger-weber"):
        silicon.calc.get_features(silicon)


def test_float32(silicon: Atoms) -> None:
    single = silicon.copy()
    single.calc = Calculator(StillingerWeber.silicon(), dtype=torch.float32)
    assert single.calc.potential.dtype == torch.float32
    assert single.get_forces().dtype == np.float64
    np.testing.assert_allclose(single.get_forces(), silicon.get_forces(), rtol=0, atol=1e-4)
    assert single.get_potential_energy() == pytest.approx(silicon.get_potential_energy(), abs=1e-4)


def test_the_given_potential_stays_trainable() -> None:
    potential = StillingerWeber.silicon().train()
    calculator = Calculator(potential, dtype=torch.float32)
    assert potential.dtype == torch.float64
    assert potential.training
    assert all(parameter.requires_grad for parameter in potential.parameters())
    assert not any(parameter.requires_grad for parameter in calculator.potential.parameters())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda calculator: pickle.loads(pickle.dumps(calculator))])
def test_copies_give_the_same(silicon: Atoms, copied) -> None:
    expected = silicon.get_forces()
    other = silicon.copy()
    other.calc = copied(silicon.calc)
    assert other.calc.results.keys() == silicon.calc.results.keys()
    other.calc.reset()
    np.testing.assert_array_equal(other.get_forces(), expected)


@pytest.mark.parametrize("convert", [str, Path])
def test_model_from_a_file(silicon: Atoms, tmp_path: Path, convert) -> None:
    save_model(tmp_path / "silicon.simkit", StillingerWeber.silicon())
    other = silicon.copy()
    other.calc = Calculator(convert(tmp_path / "silicon.simkit"))
    np.testing.assert_array_equal(other.get_forces(), silicon.get_forces())
    assert other.calc.todict()["model"] == str(tmp_path / "silicon.simkit")


def test_database_and_trajectory(silicon: Atoms, tmp_path: Path) -> None:
    silicon.get_stress()
    with connect(tmp_path / "atoms.db") as database:
        row = database.get(database.write(silicon))
    assert row.calculator == "simkit"
    assert row.calculator_parameters["model"] == "stillinger-weber"
    for name in ("atoms.traj", "atoms.xyz"):
        silicon.write(tmp_path / name)
        stored = ase.io.read(tmp_path / name)
        np.testing.assert_allclose(stored.get_forces(), silicon.get_forces(), atol=1e-7)
        np.testing.assert_allclose(stored.get_stress(), silicon.get_stress(), atol=1e-7)


def test_settings_cannot_change(silicon: Atoms) -> None:
    with pytest.raises(SimkitError, match="make a new Calculator"):
        silicon.calc.set(skin=1.0)


def test_unsupported_element(silicon: Atoms) -> None:
    silicon.symbols[2] = "Ge"
    with pytest.raises(UnsupportedElementError, match=r"supports Si; the system also contains Ge.*\[2\]"):
        silicon.get_potential_energy()


def test_atoms_on_top_of_one_another(silicon: Atoms) -> None:
    silicon.positions[4] = silicon.positions[1] + [0, 0, 0.01]
    with pytest.raises(InvalidSystemError, match=r"atoms 1 and 4 are 0\.010 Å apart"):
        silicon.get_forces()


def test_nan_positions(silicon: Atoms) -> None:
    silicon.positions[3, 2] = np.nan
    with pytest.raises(InvalidSystemError, match=r"atoms \[3\]"):
        silicon.get_forces()


def test_no_atoms() -> None:
    with pytest.raises(InvalidSystemError, match="empty Atoms"):
        Atoms(calculator=Calculator(StillingerWeber.silicon())).get_potential_energy()


def test_nothing_given_and_nothing_computed() -> None:
    with pytest.raises(SimkitError, match="expected atoms"):
        Calculator(StillingerWeber.silicon()).get_hessian()


def test_result_that_is_not_finite(silicon: Atoms) -> None:
    broken = StillingerWeber.silicon()
    with torch.no_grad():
        broken.epsilon.fill_(torch.nan)
    silicon.calc = Calculator(broken)
    with pytest.raises(SimkitError, match=r"NaN or infinity \(energy"):
        silicon.get_forces()
