"""Methods that give reference energies and forces: semi-empirical quantum chemistry, EMT, or any model file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import ase
import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.calculators.calculator import Calculator as AseCalculator
from ase.data import chemical_symbols, ground_state_magnetic_moments

from simkit.errors import DataError, MissingExtraError, SimkitError
from simkit.tasks.frames import attach
from simkit.tasks.models import model_calculator, open_model

XTB = {
    "gfn2-xtb": (
        "GFN2-xTB",
        "C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019), doi:10.1021/acs.jctc.8b01176",
    ),
    "gfn1-xtb": (
        "GFN1-xTB",
        "S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 13, 1989 (2017), doi:10.1021/acs.jctc.7b00118",
    ),
}
TBLITE = "A. Katbashev et al., J. Phys. Chem. A 129, 2667 (2025), doi:10.1021/acs.jpca.4c08263"
EMT = "K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996), doi:10.1016/0039-6028(96)00816-3"


@dataclass(frozen=True)
class Labeller:
    """A method that gives energies (eV) and forces (eV/Å).

    Attributes:
        method: what reports call it.
        program: program and version that computes it.
        citations: references to cite.
        make_calculator: a new ASE calculator of it.
    """

    method: str
    program: str
    citations: tuple[str, ...]
    make_calculator: Callable[[], AseCalculator]

    @property
    def provenance(self) -> str:
        """Method and program, as written into each labelled frame."""
        return f"{self.method} ({self.program})"


def make_labeller(name: str, *, device: str = "cpu", dtype: str | None = None) -> Labeller:
    """The labeller of a name: ``gfn2-xtb``, ``gfn1-xtb``, ``emt`` or the path of a model file.

    Raises:
        MissingExtraError: tblite is not installed.
        SimkitError: neither a known name nor a file.
    """
    if name.lower() in XTB:
        return _xtb(*XTB[name.lower()])
    if name.lower() == "emt":
        from ase.calculators.emt import EMT as EmtCalculator

        return Labeller("EMT", f"ASE {ase.__version__}", (EMT,), EmtCalculator)
    if not Path(name).is_file():
        raise SimkitError(f"expected a labeller among {', '.join([*XTB, 'emt'])} or a model file; found {name!r}")
    potential = open_model(name, device=device, dtype=dtype)
    return Labeller(
        f"{potential.kind} model {Path(name).name}",
        "simkit",
        potential.capabilities.citations,
        lambda: model_calculator(name, device=device, dtype=dtype),
    )


def _xtb(method: str, citation: str) -> Labeller:
    if importlib.util.find_spec("tblite") is None:
        raise MissingExtraError("tblite", "label", f"labelling with {method}")

    def make() -> AseCalculator:
        from simkit.tasks.tight_binding import TightBinding

        # no reuse of densities: a result must not depend on the geometry computed before it
        return TightBinding(method=method, verbosity=0, cache_api=False)

    return Labeller(method, f"tblite {version('tblite')}", (citation, TBLITE), make)


def label_frame(atoms: Atoms, calculator: AseCalculator, labeller: Labeller, name: str) -> Atoms:
    """A copy of a frame with energy, forces and, where it is periodic and the method has it, stress.

    Raises:
        DataError: the method failed or gave values that are not finite.
    """
    frame = atoms.copy()
    frame.calc = calculator
    stressed = atoms.pbc.all() and "stress" in calculator.implemented_properties
    try:
        energy, forces = float(frame.get_potential_energy()), frame.get_forces(apply_constraint=False)
        stress = frame.get_stress(apply_constraint=False) if stressed else None
    except (CalculationFailed, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{name}: {labeller.method} failed ({error}); remove the frame or check its geometry"
        ) from error
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise DataError(f"{name}: {labeller.method} gave values that are not finite; check the geometry")
    frame.info["labeller"] = labeller.provenance
    return attach(frame, energy=energy, forces=forces, stress=stress)


def isolated_atoms(numbers: list[int], labeller: Labeller) -> list[Atoms]:
    """One labelled atom for each element, in the spin state of its ground state; they set the zero of energies."""
    frames = []
    for number in sorted(set(numbers)):
        symbol = chemical_symbols[number]
        atom = Atoms(symbol, magmoms=[ground_state_magnetic_moments[number]])
        frame = label_frame(atom, labeller.make_calculator(), labeller, f"isolated {symbol}")
        frame.info["config_type"] = "IsolatedAtom"
        frames.append(frame)
    return frames
