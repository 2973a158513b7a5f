"""The contract's own parts: properties and the check of elements."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from ase import Atoms

from simkit.errors import SimkitWarning, UnsupportedElementError
from simkit.potential import (
    ALL_ELEMENTS,
    STANDARD_OUTPUTS,
    AtomicOutput,
    IgnoredConditions,
    Potential,
    require_elements,
    symbols,
)
from simkit.potentials.element_shift import ElementShift
from simkit.potentials.elements import ElementIndex, ReferenceEnergies
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.painn import PaiNN
from simkit.potentials.sum import Sum
from simkit.progress import Silent, Terminal
from simkit.system import System
from tests.conformance.systems import make_system


def test_contract_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Potential(LennardJones(1.0, 1.0, 3.0).capabilities)  # type: ignore[abstract]


def test_supported_elements() -> None:
    system = make_system(torch.zeros(3, 3), [6, 92, 118])
    require_elements(LennardJones(1.0, 1.0, 3.0), system)
    some = LennardJones(1.0, 1.0, 3.0, elements=[1, 6])
    expected = r"lennard-jones potential supports H C; the system also contains U Og \(first at atoms \[1, 2\]\)"
    with pytest.raises(UnsupportedElementError, match=expected):
        require_elements(some, system)


def test_symbols_of_long_lists_and_unknown_numbers() -> None:
    assert symbols([8, 1]) == "H O"
    assert symbols([0, 119]) == "X Z=119"
    assert symbols(ALL_ELEMENTS).startswith("118 elements (H He Li")


def test_dtype_is_the_least_precise_and_device_that_of_the_tensors() -> None:
    model = PaiNN([1], channels=4, layers=1, n_radial=3)
    assert model.dtype == torch.float64
    rough = copy.deepcopy(model).to(torch.float32)
    assert rough.dtype == torch.float32
    assert rough.reference.values.dtype == torch.float64
    assert rough.device == torch.device("cpu")


def test_reference_energies_keep_all_digits() -> None:
    value = -1027.592489146
    exact = ReferenceEnergies([[value]]).to(torch.float32)
    assert float(exact(torch.tensor([0]))) == value


def test_element_index() -> None:
    index = ElementIndex([8, 1])
    assert index(torch.tensor([1, 8, 8])).tolist() == [1, 0, 0]
    assert index(torch.tensor([6])).tolist() == [2]


def test_standard_outputs_have_units() -> None:
    assert {name: output.unit for name, output in STANDARD_OUTPUTS.items()} == {
        "energy": "eV",
        "energies": "eV",
        "forces": "eV/Å",
        "virial": "eV",
        "stress": "eV/Å³",
    }


def test_atomic_output_has_no_features_by_default() -> None:
    assert AtomicOutput(torch.zeros(2))[1:] == (None, None, None)


class Conditional(LennardJones):
    """One that says that its energies depend on the charge."""

    kind = "conditional"

    def __init__(self) -> None:
        super().__init__(0.01, 3.0, 6.0)
        self.capabilities = replace(self.capabilities, conditions=("charge",))


def charged(charge: float, spin: float) -> System:
    atom = Atoms("Ar")
    atom.info |= {"charge": charge, "spin": spin}
    return System.from_ase([Atoms("Ar"), atom])


def test_charge_and_spin_that_are_ignored_are_said_once() -> None:
    said: list[str] = []

    class Listening(Terminal):
        def say(self, text: str) -> None:
            said.append(text)

    ignored = IgnoredConditions(LennardJones(0.01, 3.0, 6.0), Listening())
    for system in (charged(0, 1), charged(0, 0), charged(-1, 1), charged(2, 1), charged(1, 2), charged(1, 3)):
        ignored.look_at(system, "a.xyz:4")
    assert len(said) == 2
    assert said[0].startswith("warning: a.xyz:4 has charge -1, which this lennard-jones potential ignores")
    assert "spin 2" in said[1]


def test_conditions_of_a_part_are_those_of_the_whole() -> None:
    for potential in (
        Sum(LennardJones(0.01, 3.0, 6.0), Conditional()),
        ElementShift(Conditional(), {"Ar": 1.0}),
    ):
        assert potential.capabilities.conditions == ("charge",)
        ignored = IgnoredConditions(potential, Silent())
        ignored.look_at(charged(1, 1))
        with pytest.warns(SimkitWarning, match=f"the system has spin 3, which this {potential.kind} potential ignores"):
            ignored.look_at(charged(1, 3))
