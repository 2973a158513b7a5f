"""Shifts per element change energies, and nothing else."""

import pytest
import torch
from ase import Atoms

from simkit.errors import SimkitError, UnsupportedElementError
from simkit.evaluation import evaluate
from simkit.potential import require_elements
from simkit.potentials.catalogue import build
from simkit.potentials.element_shift import ElementShift
from simkit.potentials.morse import Morse
from simkit.potentials.stillinger_weber import StillingerWeber
from simkit.system import System

SHIFTS = {"O": -2041.3, "H": -13.6}


@pytest.fixture
def water() -> System:
    return System.from_ase(Atoms("OH2", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]], cell=[5, 6, 7], pbc=True))


@pytest.fixture
def morse() -> Morse:
    return Morse(4.0, 2.2, 0.96, 2.4)


def test_energies_shift_and_derivatives_do_not(water: System, morse: Morse) -> None:
    outputs = ("energies", "forces", "stress")
    bare, shifted = (
        evaluate(morse, water, outputs=outputs),
        evaluate(ElementShift(morse, SHIFTS), water, outputs=outputs),
    )
    expected = bare.energies + torch.tensor([-2041.3, -13.6, -13.6])
    torch.testing.assert_close(shifted.energies, expected, rtol=1e-15, atol=0)
    torch.testing.assert_close(shifted.forces, bare.forces, rtol=0, atol=0)
    torch.testing.assert_close(shifted.stress, bare.stress, rtol=0, atol=0)


def test_only_shifted_elements_are_supported(morse: Morse) -> None:
    shifted = ElementShift(morse, SHIFTS)
    assert shifted.capabilities.elements == (1, 8)
    with pytest.raises(UnsupportedElementError, match="also contains N"):
        require_elements(shifted, System.from_ase(Atoms("NH3", positions=[[0, 0, i] for i in range(4)])))


def test_shifts_stay_exact_in_float32(water: System, morse: Morse) -> None:
    exact = evaluate(ElementShift(morse, SHIFTS), water).energy.item()
    single = ElementShift(morse, SHIFTS).to(torch.float32)
    assert single.dtype == torch.float32
    assert evaluate(single, water.to(dtype=torch.float32)).energy.item() == pytest.approx(exact, abs=1e-5)


def test_round_trip(water: System, morse: Morse) -> None:
    original = ElementShift(morse, SHIFTS)
    assert original.config()["energies"] == {"H": -13.6, "O": -2041.3}
    assert evaluate(build(original.specification()), water).energy == evaluate(original, water).energy


def test_unknown_symbol(morse: Morse) -> None:
    with pytest.raises(SimkitError, match=r"chemical symbols.*'Xy'"):
        ElementShift(morse, {"Xy": 1.0})


@pytest.mark.parametrize("energies", [{"O": 1.0}, {}])
def test_no_element_in_common(energies: dict[str, float]) -> None:
    with pytest.raises(SimkitError, match=r"supports \(Si\), found (O|none)"):
        ElementShift(StillingerWeber.silicon(), energies)
