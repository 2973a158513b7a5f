"""Tight binding through tblite, which is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase import Atoms
from tblite.ase import TBLite


class TightBinding(TBLite):
    """GFN tight binding at the charge and spin multiplicity of ``atoms.info``, as simkit's potentials have them.

    Without ``info['charge']`` atoms are neutral unless they have initial charges; without ``info['spin']`` (2S+1; 0
    says nothing) their initial magnetic moments tell the number of unpaired electrons.
    """

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """A result for these atoms; what was computed for another charge or spin does not count."""
        if atoms is not None:
            self.set(charge=_whole(atoms.info, "charge"), multiplicity=_whole(atoms.info, "spin") or None)
        return super().get_property(name, atoms, allow_calculation)


def _whole(info: Mapping[str, Any], key: str) -> int | None:
    return round(float(info[key])) if key in info else None
