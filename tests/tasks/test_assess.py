import json

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import simkit
from simkit.errors import DataError, SimkitWarning, UnsupportedElementError
from simkit.system import System
from simkit.tasks.assess import assess_file
from simkit.tasks.parity import read_parity


def labelled(atoms, model, energy=0.0, forces=0.0, stress=None):
    """Labels that differ from the model's by given amounts."""
    frame = atoms.copy()
    frame.calc = simkit.Calculator(model)
    results = {"energy": frame.get_potential_energy() + energy, "forces": frame.get_forces() + forces}
    if stress is not None:
        results["stress"] = frame.get_stress() + stress
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def test_errors_of_known_size(tmp_path, argon_model, crystal, cluster):
    forces = np.zeros((4, 3))
    forces[1, 2] = 0.12
    frames = [
        labelled(crystal, argon_model, energy=0.004, forces=forces, stress=0.001),
        labelled(cluster, argon_model, energy=-0.039),
    ]
    write(tmp_path / "data.xyz", frames)
    errors = assess_file(argon_model, tmp_path / "data.xyz", target=tmp_path / "errors.json")
    assert errors["energy_mae_mev_per_atom"] == pytest.approx((1 + 3) / 2, abs=1e-4)
    assert errors["energy_rmse_mev_per_atom"] == pytest.approx(np.sqrt((1 + 9) / 2), abs=1e-4)
    assert errors["forces_mae_mev_per_ang"] == pytest.approx(120 / 51, abs=1e-4)
    assert errors["forces_rmse_mev_per_ang"] == pytest.approx(120 / np.sqrt(51), abs=1e-4)
    assert errors["stress_mae_mev_per_ang3"] == pytest.approx(1.0, abs=1e-4)
    assert errors["worst_frames"][0]["forces_rmse_mev_per_ang"] == pytest.approx(120 / np.sqrt(12), abs=1e-4)
    assert "data.xyz" in errors["worst_frames"][0]["frame"]
    assert json.loads((tmp_path / "errors.json").read_text()) == errors
    parity = read_parity(tmp_path / "errors.npz")
    np.testing.assert_allclose(parity.energy[:, 1] - parity.energy[:, 0], [-0.004, 0.039], atol=1e-7)
    assert parity.forces.shape == (17, 3, 2)
    assert np.isnan(parity.stress[1, ..., 0]).all()


def test_forces_by_element(tmp_path, argon_model):
    atoms = Atoms("ArNe", [[0, 0, 0], [0, 0, 3.7]])
    write(tmp_path / "data.xyz", labelled(atoms, argon_model, forces=np.array([[0.03, 0, 0], [0, 0, 0]])))
    elements = assess_file(argon_model, tmp_path / "data.xyz")["forces_by_element"]
    assert elements["Ar"]["mae_mev_per_ang"] == pytest.approx(10, abs=1e-4)
    assert elements["Ne"]["rmse_mev_per_ang"] == pytest.approx(0, abs=1e-4)


def test_batching_does_not_change_errors(tmp_path, argon_model, crystal, cluster):
    frames = [labelled(atoms, argon_model, energy=0.01, forces=0.02) for atoms in (crystal, cluster, crystal, cluster)]
    write(tmp_path / "data.xyz", frames)
    one = assess_file(argon_model, tmp_path / "data.xyz", batch_atoms=1)
    all_together = assess_file(argon_model, tmp_path / "data.xyz", batch_atoms=1000)
    for name in ("energy_rmse_mev_per_atom", "forces_mae_mev_per_ang"):
        assert one[name] == pytest.approx(all_together[name], rel=1e-9)


def test_frames_with_energies_only(tmp_path, argon_model, crystal):
    crystal.calc = SinglePointCalculator(crystal, energy=0.0)
    write(tmp_path / "data.xyz", crystal)
    errors = assess_file(argon_model, tmp_path / "data.xyz")
    assert "energy_mae_mev_per_atom" in errors
    assert "forces_mae_mev_per_ang" not in errors
    assert errors["forces_by_element"] == {}


def test_frames_without_labels_are_refused(tmp_path, argon_model, crystal):
    write(tmp_path / "data.xyz", crystal)
    with pytest.raises(DataError, match="expected frames with energies, forces or stresses"):
        assess_file(argon_model, tmp_path / "data.xyz")


def test_an_unknown_element_names_the_frame(tmp_path, argon_model, crystal):
    strange = Atoms("Xe")
    strange.calc = SinglePointCalculator(strange, energy=0.0)
    write(tmp_path / "data.xyz", [labelled(crystal, argon_model), strange])
    with pytest.raises(UnsupportedElementError, match=r"data\.xyz.*1.*contains Xe"):
        assess_file(argon_model, tmp_path / "data.xyz")


def test_a_spin_that_the_model_ignores_is_said_once(tmp_path, argon_model, crystal):
    frame = labelled(crystal, argon_model)
    frame.info["spin"] = 3
    write(tmp_path / "data.xyz", [frame, frame])
    with pytest.warns(SimkitWarning, match="data.xyz:0 has spin 3, which this lennard-jones potential ignores") as said:
        assess_file(argon_model, tmp_path / "data.xyz")
    assert len(said) == 1


def test_deviations_of_uncertain_potentials_are_kept_and_compared_with_errors(tmp_path, argon_ensemble, crystal):
    model = simkit.load_model(argon_ensemble)
    prediction = model.predict(System.from_ase(crystal))
    sigma = float(prediction.energy_std)
    force = prediction.force_sigma.numpy()
    forces = np.stack([3 * force] * 3, 1)  # three deviations off in each component
    write(tmp_path / "data.xyz", labelled(crystal, argon_ensemble, energy=2 * sigma, forces=forces))
    errors = assess_file(argon_ensemble, tmp_path / "data.xyz", target=tmp_path / "errors.json")
    assert errors["energy_z_rms"] == pytest.approx(2, rel=1e-4)
    assert errors["energy_sigma_mev_per_atom"] == pytest.approx(1e3 * sigma / 4, rel=1e-6)
    assert errors["forces_z_rms"] == pytest.approx(3, rel=1e-4)
    assert errors["forces_sigma_mev_per_ang"] == pytest.approx(1e3 * np.sqrt(np.mean(force**2)), rel=1e-4)
    assert errors["uncertainty"] == "deep ensemble, not calibrated"
    parity = read_parity(tmp_path / "errors.npz")
    np.testing.assert_allclose(parity.force_sigma, force, rtol=1e-6)
    np.testing.assert_allclose(parity.energy_std, [sigma], rtol=1e-6)
    assert parity.groups == [""]
