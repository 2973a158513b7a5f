"""D3(BJ) against tad-dftd3 for molecules and s-dftd3 for crystals."""

import sys

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from simkit.errors import MissingExtraError, SimkitError
from simkit.evaluation import evaluate
from simkit.system import System
from simkit.units import BOHR, HARTREE

tad_dftd3 = pytest.importorskip("tad_dftd3")
from simkit.potentials.dispersion import DispersionD3  # noqa: E402

PBE = {"s6": 1.0, "s8": 0.7875, "a1": 0.4289, "a2": 4.4407}


def test_published_parameters() -> None:
    """Reference: S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 32, 1456 (2011), table 2."""
    config = DispersionD3.for_functional("PBE").config()
    assert {name: config[name] for name in PBE} == PBE


@pytest.mark.parametrize("name", ["C6H6", "CH3CONH2", "Si2H6", "LiF"])
def test_molecules_of_the_library(name: str) -> None:
    atoms = molecule(name)
    atoms.rattle(0.05, seed=3)
    system = System.from_ase(atoms)
    positions = (system.positions / BOHR).requires_grad_()
    parameters = {key: torch.tensor(value) for key, value in {**PBE, "s9": 0.0}.items()}
    energy = tad_dftd3.dftd3(system.numbers, positions, parameters).sum()
    (gradient,) = torch.autograd.grad(energy, positions)
    found = evaluate(DispersionD3(**PBE), system)
    assert found.energy.item() == pytest.approx(energy.item() * HARTREE, rel=1e-12)
    torch.testing.assert_close(found.forces, -gradient * HARTREE / BOHR, rtol=1e-9, atol=1e-12)


CRYSTALS = {
    "Si": (bulk("Si", a=5.431, cubic=True), -2.5110608338676674, 1.54742593e-02),
    "NaCl": (bulk("NaCl", "rocksalt", a=5.64), -0.42864706856534046, 9.96748071e-03),
    "Cs": (bulk("Cs", "bcc", a=6.14), -0.0882168605316204, 7.39822806e-04),
}
"""Energy (eV) and pressure part of the stress (eV/Å³) by dftd3 1.7.0 with PBE parameters, s9 = 0 and sharp cutoffs."""


@pytest.mark.parametrize("name", list(CRYSTALS))
def test_crystals_of_the_reference_program(name: str) -> None:
    atoms, energy, stress = CRYSTALS[name]
    system = System.from_ase(atoms)
    sharp = evaluate(DispersionD3(**PBE, switch_on=0.9999), system, outputs=("energy",))
    assert sharp.energy.item() == pytest.approx(energy, rel=1e-6)
    smooth = evaluate(DispersionD3(**PBE), system, outputs=("stress",))
    torch.testing.assert_close(smooth.stress[0], stress * torch.eye(3), rtol=3e-3, atol=1e-8)


def test_switching_changes_little() -> None:
    atoms, energy, _ = CRYSTALS["Si"]
    found = evaluate(DispersionD3(**PBE), System.from_ase(atoms)).energy.item()
    assert abs(found - energy) / len(atoms) < 1e-4


def test_coordination_far_from_all_references() -> None:
    """Hydrogen with twelve neighbours: every Gaussian weight underflows in float32, the coefficients stay finite."""
    atoms = Atoms("H13", bulk("H", "fcc", a=1.0, cubic=True).repeat(2).positions[:13])
    for dtype in (torch.float32, torch.float64):
        model = DispersionD3(**PBE, cutoff=10.0).to(dtype)
        found = evaluate(model, System.from_ase(atoms, dtype=dtype))
        assert torch.isfinite(found.energy).all()
        assert torch.isfinite(found.forces).all()


def test_unknown_functional() -> None:
    with pytest.raises(SimkitError, match="'lda-vwn'"):
        DispersionD3.for_functional("lda-vwn")


def test_element_without_coefficients() -> None:
    with pytest.raises(SimkitError, match="1 to 103"):
        DispersionD3(**PBE, elements=(1, 104))


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tad_dftd3", None)
    with pytest.raises(MissingExtraError, match=r"simkit-sci\[dispersion\]"):
        DispersionD3(**PBE)
