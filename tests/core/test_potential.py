"""The contract's own parts: properties and the check of elements."""

from __future__ import annotations

import copy

import pytest
import torch

from simkit.errors import UnsupportedElementError
from simkit.potential import ALL_ELEMENTS, STANDARD_OUTPUTS, AtomicOutput, Potential, require_elements, symbols
from simkit.potentials.elements import ElementIndex, ReferenceEnergies
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.painn import PaiNN
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
    assert AtomicOutput(torch.zeros(2))[1:] == (None, None)
