"""Radial networks by splines: near the networks, exactly conservative, of fourth order."""

from typing import Any

import pytest
import torch
from ase.build import molecule

from simkit import System, evaluate
from simkit.errors import SimkitError, UnsupportedElementError
from simkit.evaluation import energy_function, hessian_vector_product
from simkit.neighbours import build_neighbours
from simkit.potentials.mace import MACE, SplinedMACE

SMALL: dict[str, Any] = {
    "elements": (1, 6, 8),
    "cutoff": 3.2,
    "hidden_irreps": "4x0e+4x1o",
    "max_ell": 2,
    "n_radial": 4,
    "radial_mlp": (8,),
    "average_neighbours": 4.0,
}
BLOCKS: dict[str, dict[str, Any]] = {
    "residual": {},
    "transformed": {"distance_transform": "agnesi", "first_interaction": "density", "interaction": "density_residual"},
    "outside": {"apply_cutoff": False, "radial_basis": "gaussian", "distance_transform": "soft"},
}
NON_LINEAR: dict[str, Any] = {
    "first_interaction": "residual_nonlinear",
    "interaction": "residual_nonlinear",
    "apply_cutoff": False,
}


def ethanol() -> System:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    return System.from_ase([atoms])


@pytest.mark.parametrize("name", BLOCKS)
def test_energies_and_forces(name: str) -> None:
    model = MACE(**SMALL, **BLOCKS[name])
    splined = SplinedMACE(model, 1e-6)
    assert splined.error <= 1e-6
    expected, found = evaluate(model, ethanol()), evaluate(splined, ethanol())
    torch.testing.assert_close(found.energy, expected.energy, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=1e-4)
    assert not torch.equal(found.forces, expected.forces)


def test_forces_are_derivatives_of_the_splines() -> None:
    """With few intervals, whose energies are far from those of the networks."""
    splined = SplinedMACE(MACE(**SMALL, **BLOCKS["transformed"]), 1e-2)
    system = ethanol()
    neighbours = build_neighbours(system, splined.cutoff)
    energy = energy_function(splined, system, neighbours)
    direction = torch.randn_like(system.positions)
    step = 1e-5
    expected = (energy(system.positions + step * direction) - energy(system.positions - step * direction)) / (2 * step)
    found = evaluate(splined, system, neighbours).forces
    torch.testing.assert_close(-(found * direction).sum()[None], expected, rtol=1e-7, atol=1e-7)


def test_second_derivatives() -> None:
    model = MACE(**SMALL)
    system = ethanol()
    neighbours = build_neighbours(system, model.cutoff)
    vector = torch.randn_like(system.positions)
    found, expected = [
        hessian_vector_product(one, system, neighbours, vector) for one in (SplinedMACE(model, 1e-8), model)
    ]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_error_falls_by_the_fourth_power_of_the_interval() -> None:
    model = MACE(**SMALL)
    rough, fine = SplinedMACE(model, 1e-5), SplinedMACE(model, 1e-8)
    order = torch.log(torch.tensor(rough.error / fine.error)) / torch.log(
        torch.tensor(float(fine.intervals / rough.intervals))
    )
    assert 3.8 < float(order) < 4.2


def test_beyond_the_cutoff_there_is_nothing() -> None:
    splined = SplinedMACE(MACE(**SMALL))
    system = System.from_ase([molecule("H2")])
    stretched = System.from_ase([molecule("H2")])
    stretched.positions[0, 2] += 3.2
    neighbours = build_neighbours(stretched, 6.0)
    assert neighbours.n_edges == 2
    far = evaluate(splined, stretched, neighbours)
    alone = evaluate(splined, stretched, build_neighbours(stretched, 3.2))
    torch.testing.assert_close(far.energy, alone.energy)
    assert not far.forces.any()
    assert evaluate(splined, system).forces.any()


def test_float32() -> None:
    model = MACE(**SMALL).float()
    system = ethanol().to(dtype=torch.float32)
    found, expected = evaluate(SplinedMACE(model), system), evaluate(model, system)
    torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=1e-5)


def test_some_elements() -> None:
    splined = SplinedMACE(MACE(**SMALL, distance_transform="agnesi"), elements=(1, 8))
    assert splined.model.radial_embedding.pairs == [(1, 1), (1, 8), (8, 8)]
    with pytest.raises(UnsupportedElementError):
        evaluate(splined, ethanol())


def test_refusals() -> None:
    with pytest.raises(SimkitError, match="radial networks of the distance alone"):
        SplinedMACE(MACE(**SMALL, **NON_LINEAR))
    with pytest.raises(SimkitError, match="allow a larger one"):
        SplinedMACE(MACE(**SMALL), 1e-30)
    with pytest.raises(SimkitError, match=r"found \(92,\)"):
        SplinedMACE(MACE(**SMALL), elements=(92,))
    with pytest.raises(SimkitError, match="save the MACE"):
        SplinedMACE(MACE(**SMALL)).specification()
