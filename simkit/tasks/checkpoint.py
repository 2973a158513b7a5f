"""The state of molecular dynamics on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from simkit.continuation import require_same_run
from simkit.files import atomic_path


class Checkpoint:
    """Positions, momenta, random state, step and lengths of the files, written as one.

    Args:
        path: ``.npz`` file.
        identity: JSON-compatible facts that must be the same for a run to be continued.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self.identity = json.loads(json.dumps(identity))

    def save(self, atoms: Atoms, rng: np.random.Generator, step: int, lengths: tuple[int, int]) -> None:
        """Replace what was saved before."""
        header = {
            "identity": self.identity,
            "step": step,
            "lengths": lengths,
            "rng": rng.bit_generator.state,
        }
        with atomic_path(self.path) as temporary:
            np.savez(
                temporary, positions=atoms.positions, momenta=atoms.get_momenta(), header=np.array(json.dumps(header))
            )

    def restore(self, atoms: Atoms, rng: np.random.Generator) -> tuple[int, tuple[int, int]]:
        """Set atoms and generator to the saved state; return its step and the lengths of the files.

        Raises:
            SimkitError: the identity is another.
        """
        with np.load(self.path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            require_same_run(self.path.parent, header["identity"], self.identity)
            atoms.positions[:] = file["positions"]
            atoms.set_momenta(file["momenta"], apply_constraint=False)
        rng.bit_generator.state = header["rng"]
        trajectory, log = header["lengths"]
        return header["step"], (trajectory, log)
