"""Single systems step as ASE's optimisers do."""

import numpy as np
import pytest
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, LBFGS

from simkit.calculator import Calculator
from simkit.relaxation import Budget, CellFilter, Fire, InFlight, Lbfgs
from simkit.system import System
from simkit.units import GPA

STEPS = 24
LBFGS_OF_ASE = Lbfgs(cautious=False)
PAIRS = [
    (Fire(), FIRE, {}),
    (LBFGS_OF_ASE, LBFGS, {}),
    (Lbfgs(memory=4, damping=0.8, cautious=False), LBFGS, {"memory": 4, "damping": 0.8}),
]
CELLS = {
    "free": ({}, {}),
    "pressure": ({"pressure": 0.3 * GPA}, {"scalar_pressure": 0.3 * GPA}),
    "hydrostatic": ({"hydrostatic": True}, {"hydrostatic_strain": True}),
    "constant volume": ({"constant_volume": True}, {"constant_volume": True}),
    "in plane": (
        {"mask": (True, True, False, False, False, True)},
        {"mask": [True, True, False, False, False, True]},
    ),
}


def ours(potential, atoms, optimiser, cell):
    """Positions, cell and largest force after each step."""
    run = InFlight(
        potential, [System.from_ase(atoms)], optimiser, fmax=1e-12, max_steps=STEPS, cell=cell, budget=Budget()
    )
    while run.working:
        record = run.advance().batch.record
        yield record.positions.numpy(), record.cell[0].numpy(), float(record.largest[0])


def require_same(potential, atoms, optimiser, ase_optimiser, cell=None, ase_options=None):
    copy = atoms.copy()
    copy.calc = Calculator(potential)
    target = copy if cell is None else FrechetCellFilter(copy, **ase_options)
    steps = ase_optimiser(target).irun(fmax=1e-12, steps=STEPS)
    made = 0
    for _, (positions, lattice, largest) in zip(steps, ours(potential, atoms, optimiser, cell), strict=True):
        np.testing.assert_allclose(positions, copy.positions, atol=1e-9)
        np.testing.assert_allclose(lattice, copy.cell.array, atol=1e-9)
        assert largest == pytest.approx(np.linalg.norm(target.get_forces(), axis=1).max(), rel=1e-6, abs=1e-8)
        made += 1
    assert made == STEPS + 1
    assert np.abs(copy.positions - atoms.positions).max() > 0.05


@pytest.mark.parametrize(("optimiser", "theirs", "options"), PAIRS)
def test_atoms(argon, crystal, optimiser, theirs, options):
    require_same(argon, crystal(), optimiser, lambda atoms: theirs(atoms, logfile=None, **options))


@pytest.mark.parametrize("cell", CELLS)
def test_atoms_and_cell(argon, crystal, cell):
    own, ase_options = CELLS[cell]
    require_same(
        argon, crystal(), LBFGS_OF_ASE, lambda atoms: LBFGS(atoms, logfile=None), CellFilter(**own), ase_options
    )


def test_atoms_and_cell_with_fire(argon, crystal):
    require_same(argon, crystal(), Fire(), lambda atoms: FIRE(atoms, logfile=None), CellFilter(), {})


@pytest.mark.parametrize("cell", [None, CellFilter()])
def test_fixed_atoms(argon, crystal, cell):
    atoms = crystal()
    atoms.set_constraint(FixAtoms([0, 2]))
    require_same(argon, atoms, LBFGS_OF_ASE, lambda atoms: LBFGS(atoms, logfile=None), cell, {})
