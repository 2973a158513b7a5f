"""Write the small mace-torch models that the tests of the reader use, with mace-torch's own results for them.

Run it in an environment with mace-torch (see make_environment.py)::

    benchmarks/peers/environments/mace/bin/python benchmarks/peers/make_mace_fixtures.py tests/data/mace_torch

For each variant it writes ``NAME.model.xz`` (what ``torch.save`` writes, compressed) and ``NAME.npz``: for every
structure ``S``, ``S/numbers S/positions S/cell S/pbc`` and the reference ``S/energy S/energies S/forces S/stress`` (the
stress of periodic structures alone), in eV and Å. Weights are random. All references are computed in float64; those of
the float32 model after ``model.double()``. Models with several heads have ``HEAD/S/...`` for the results of every head.
"""

from __future__ import annotations

import io
import lzma
import os
import sys
from pathlib import Path

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import mace.modules as modules
import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from e3nn import o3
from mace.data import AtomicData, config_from_atoms
from mace.tools import AtomicNumberTable, torch_geometric

ELEMENTS = [1, 6, 8]
REFERENCE = [-1.1, -3.3, -5.5]
blocks = modules.interaction_classes


def structures() -> dict[str, Atoms]:
    cell = [[3.1, 0.2, 0.1], [0.7, 3.4, -0.3], [-0.5, 0.4, 3.7]]
    fractional = [[0.02, 0.01, 0.03], [0.48, 0.55, 0.43], [0.75, 0.2, 0.6]]
    return {
        "ethanol": molecule("CH3CH2OH"),
        "crystal": Atoms("COH", scaled_positions=fractional, cell=cell, pbc=True),
        "close_pair": Atoms("OH", positions=[[0, 0, 0], [0.3, -0.4, 0.35]]),
        "atom": Atoms("C", positions=[[0.1, 0.2, 0.3]]),
    }


def common() -> dict:
    return dict(
        r_max=4.0,
        num_bessel=5,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps("2x0e + 2x1o"),
        MLP_irreps=o3.Irreps("4x0e"),
        atomic_energies=np.array(REFERENCE),
        avg_num_neighbors=7.3,
        atomic_numbers=ELEMENTS,
        correlation=3,
        gate=torch.nn.functional.silu,
        radial_MLP=[8, 8],
        use_reduced_cg=False,
    )


def scaled(**changes) -> torch.nn.Module:
    arguments = common() | dict(atomic_inter_scale=0.73, atomic_inter_shift=0.11) | changes
    return modules.ScaleShiftMACE(**arguments)


def agnostic_first() -> torch.nn.Module:
    arguments = common() | dict(
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        hidden_irreps=o3.Irreps("2x0e + 2x1o + 2x2e"),
        correlation=2,
        pair_repulsion=True,
    )
    return modules.MACE(**arguments)


def density() -> torch.nn.Module:
    return scaled(
        interaction_cls=blocks["RealAgnosticDensityResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticDensityInteractionBlock"],
        distance_transform="Agnesi",
        pair_repulsion=True,
        correlation=2,
    )


def heads() -> torch.nn.Module:
    return scaled(
        heads=["dft", "coupled_cluster"],
        atomic_energies=np.array([REFERENCE, [e - 0.7 for e in REFERENCE]]),
        atomic_inter_scale=[0.73, 0.91],
        atomic_inter_shift=[0.11, -0.23],
        MLP_irreps=o3.Irreps("3x0e"),
        correlation=2,
    )


def nonlinear() -> torch.nn.Module:
    model = scaled(
        interaction_cls=blocks["RealAgnosticResidualNonLinearInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticResidualNonLinearInteractionBlock"],
        apply_cutoff=False,
        correlation=2,
        edge_irreps=o3.Irreps("3x0e + 3x1o"),
        use_agnostic_product=True,
    )
    with torch.no_grad():
        for interaction in model.interactions:
            interaction.beta.fill_(0.31)
            interaction.source_embedding.weight.normal_()
            interaction.target_embedding.weight.normal_()
    return model


def single() -> torch.nn.Module:
    return scaled(correlation=2)


def three_layers() -> torch.nn.Module:
    return scaled(
        num_interactions=3,
        correlation=[3, 1, 2],
        radial_type="gaussian",
        distance_transform="Soft",
        gate=torch.tanh,
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
    )


VARIANTS = {
    "residual": (scaled, torch.float64),
    "agnostic_first": (agnostic_first, torch.float64),
    "density": (density, torch.float64),
    "heads": (heads, torch.float64),
    "nonlinear": (nonlinear, torch.float64),
    "float32": (single, torch.float32),
    "three_layers": (three_layers, torch.float64),
}


STRENGTH = {
    "residual": 2.0,
    "agnostic_first": 2.0,
    "density": 1.1,
    "heads": 1.5,
    "nonlinear": 1.6,
    "float32": 1.4,
    "three_layers": 2.6,
}
"""Factors that bring the forces of the random models to about 1 eV/Å, so that an error of any part shows."""


def strengthen(model: torch.nn.Module, factor: float) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("readouts", "products")) or name.endswith("linear.weight"):
                parameter *= factor


def evaluate(model: torch.nn.Module, atoms: Atoms, head: str, names: list[str]) -> dict[str, np.ndarray]:
    configuration = config_from_atoms(atoms, head_name=head)
    data = AtomicData.from_config(
        configuration, z_table=AtomicNumberTable(ELEMENTS), cutoff=float(model.r_max), heads=names
    )
    batch = torch_geometric.dataloader.Collater([], [])([data]).to_dict()
    output = model(batch, compute_stress=bool(atoms.pbc.all()))
    results = {
        "energy": output["energy"],
        "energies": output["node_energy"],
        "forces": output["forces"],
    }
    if atoms.pbc.all():
        results["stress"] = output["stress"][0]
    return {name: value.detach().numpy() for name, value in results.items()}


def write(name: str, folder: Path) -> None:
    make, dtype = VARIANTS[name]
    torch.set_default_dtype(dtype)
    torch.manual_seed(sum(map(ord, name)))
    model = make()
    strengthen(model, STRENGTH[name])
    stream = io.BytesIO()
    torch.save(model, stream)
    (folder / f"{name}.model.xz").write_bytes(lzma.compress(stream.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    torch.set_default_dtype(torch.float64)
    model = model.double()
    arrays: dict[str, np.ndarray] = {}
    for label, atoms in structures().items():
        arrays |= {
            f"{label}/numbers": atoms.numbers,
            f"{label}/positions": atoms.positions,
            f"{label}/cell": atoms.cell.array,
            f"{label}/pbc": atoms.pbc,
        }
        for head in model.heads:
            prefix = f"{head}/{label}" if len(model.heads) > 1 else label
            arrays |= {f"{prefix}/{key}": value for key, value in evaluate(model, atoms, head, model.heads).items()}
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    print(name, len(stream.getvalue()), {k: float(v[()].ravel()[0]) for k, v in arrays.items() if k.endswith("energy")})


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for variant in sys.argv[2:] or VARIANTS:
        write(variant, target)
