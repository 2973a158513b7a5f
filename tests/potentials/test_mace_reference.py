"""MACE against results of mace-torch, where that reference data is at hand.

``SIMKIT_REFERENCE_DATA`` names a folder whose ``golden/golden_mace_*.npz`` hold tensors, arguments, and energies (eV),
forces (eV/Å) and stress (eV/Å³) of random models.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import Tensor

from simkit.evaluation import evaluate
from simkit.potentials.kernels import kernels
from simkit.potentials.mace import MACE
from simkit.potentials.mace.couplings import polynomial_coefficients
from simkit.system import System

FOLDER = Path(os.environ.get("SIMKIT_REFERENCE_DATA", "nowhere")) / "golden"
OTHER_NAMES = {
    "reference_energies.values": "atomic_energies_fn.atomic_energies",
    "radial_embedding.basis.frequencies": "radial_embedding.bessel_fn.bessel_weights",
    "radial_embedding.basis.prefactor": "radial_embedding.bessel_fn.prefactor",
}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="SIMKIT_REFERENCE_DATA does not name the reference data")


def built(given: dict[str, Any]) -> MACE:
    arguments = json.loads(str(given["config"]))
    first = "residual" if "ResidualInteraction" in arguments["interaction_cls_first"] else "agnostic"
    return MACE(
        elements=tuple(json.loads(arguments["atomic_numbers"])),
        cutoff=float(arguments["r_max"]),
        hidden_irreps=arguments["hidden_irreps"],
        max_ell=int(arguments["max_ell"]),
        correlation=int(arguments["correlation"]),
        n_radial=int(arguments["num_bessel"]),
        radial_mlp=json.loads(arguments["radial_MLP"]),
        readout_mlp=arguments["MLP_irreps"],
        average_neighbours=float(arguments["avg_num_neighbors"]),
        first_interaction=first,
    )


def translated(name: str, own: Tensor, given: dict[str, Any]) -> Tensor:
    if ".coupling_" in name:
        matrix = torch.as_tensor(given["sd/" + name.replace("coupling_", "U_matrix_")])
        order = int(name[-1])
        coefficients = polynomial_coefficients(matrix if matrix.dim() == order + 2 else matrix[None])
        torch.testing.assert_close(own, coefficients, atol=1e-13, rtol=0)
        return coefficients
    return torch.as_tensor(given["sd/" + OTHER_NAMES.get(name, name)]).view_as(own)


@pytest.fixture(params=["reference", "numba"])
def computed_by(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "numba":
        pytest.importorskip("numba")
    with kernels(request.param):
        yield


@pytest.mark.usefixtures("computed_by")
@pytest.mark.parametrize("name", ["residual", "agnostic_first"])
def test_reproduces_mace_torch(name: str) -> None:
    given = dict(np.load(FOLDER / f"golden_mace_{name}.npz"))
    model = built(given)
    model.load_state_dict({key: translated(key, own, given) for key, own in model.state_dict().items()})
    for place in range(4):
        one = {key: given[f"s{place}/{key}"] for key in ("Z", "pos", "cell", "pbc", "E", "Ei", "F", "stress")}
        frame = Atoms(numbers=one["Z"], positions=one["pos"], cell=one["cell"], pbc=one["pbc"])
        found = evaluate(model, System.from_ase(frame), outputs=("energy", "energies", "forces", "stress"))
        np.testing.assert_allclose(found.energy, one["E"], atol=1e-9, rtol=0)
        np.testing.assert_allclose(found.energies, one["Ei"], atol=1e-9, rtol=0)
        np.testing.assert_allclose(found.forces, one["F"], atol=1e-8, rtol=0)
        if one["pbc"].all():
            np.testing.assert_allclose(found.stress, one["stress"], atol=1e-8, rtol=0)
