"""The two sides of the comparison of ``mace_speed.py``: simkit's MACE and that of mace-torch, and their structures.

This module is also imported by the Python of mace-torch's environment, where there is no simkit.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read

CUTOFF = 5.0
LEARNING_RATE = 1e-5
STATUS = Path("/proc/self/status")


def structures(name: str, file: str | None = None) -> list[Atoms]:
    """A silicon crystal, a box of 64 water molecules at 1 g/cm³, frames of a file, or a training batch of ethanol."""
    rng = np.random.default_rng(0)
    if name.startswith("frames"):
        return read(file, f":{int(name.removeprefix('frames'))}")
    if name.startswith("si"):
        repeats = round((int(name.removeprefix("si")) / 8) ** (1 / 3))
        frames = [bulk("Si", "diamond", a=5.43, cubic=True).repeat(repeats)]
    elif name == "water192":
        frames = [_water(rng)]
    else:
        frames = [molecule("CH3CH2OH") for _ in range(int(name.removeprefix("ethanol")))]
    for frame in frames:
        frame.positions += rng.normal(0, 0.03, frame.positions.shape)
    return frames


def _water(rng: np.random.Generator) -> Atoms:
    edge = 12.42
    box = Atoms(cell=[edge] * 3, pbc=True)
    for place in np.ndindex(4, 4, 4):
        one = molecule("H2O")
        one.rotate(rng.uniform(0, 360), rng.normal(size=3))
        one.translate((np.array(place) + 0.5) * edge / 4 - one.get_center_of_mass())
        box += one
    return box


def peer_side(arguments: argparse.Namespace) -> tuple[dict[str, float], Callable[[], object]]:
    """What mace-torch does with random weights, which it saves for the other side: see :func:`_steps`."""
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    import torch
    from e3nn import o3
    from mace import modules
    from mace.data import AtomicData, config_from_atoms
    from mace.tools import AtomicNumberTable, torch_geometric

    torch.set_num_threads(arguments.threads)
    torch.set_default_dtype(getattr(torch, arguments.dtype))
    torch.manual_seed(0)
    frames = structures(arguments.system, arguments.file)
    elements = sorted({int(number) for frame in frames for number in frame.numbers})
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF, num_bessel=8, num_polynomial_cutoff=5, max_ell=3, correlation=3, num_interactions=2,
        interaction_cls=block, interaction_cls_first=block, num_elements=len(elements), atomic_numbers=elements,
        hidden_irreps=o3.Irreps(arguments.width), MLP_irreps=o3.Irreps("16x0e"), gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(elements)), avg_num_neighbors=30.0, radial_type="bessel",
        atomic_inter_scale=1.0, atomic_inter_shift=0.0,
    )  # fmt: skip
    torch.save(model, arguments.model)
    model = _compiled(model, arguments.device) if arguments.compile_peer else model.to(arguments.device)
    table = AtomicNumberTable(elements)
    data = [AtomicData.from_config(config_from_atoms(frame), z_table=table, cutoff=CUTOFF) for frame in frames]
    batch = torch_geometric.dataloader.Collater([], [])(data).to(arguments.device).to_dict()

    def evaluated(training: bool) -> tuple[Any, Any]:
        positions = batch["positions"].detach().requires_grad_()
        given = {**batch, "positions": positions}
        output = model(given, training=training or arguments.compile_peer, compute_force=True)
        return output["energy"], output["forces"]

    return _steps(model, evaluated, arguments)


def _compiled(model: Any, device: str) -> Any:
    """As mace-torch's calculator does with ``compile_mode="default"``."""
    import torch
    from mace.tools.compile import prepare
    from mace.tools.scripts_utils import extract_model

    return torch.compile(prepare(extract_model)(model=model, map_location=device), mode="default", fullgraph=True)


def own_side(arguments: argparse.Namespace) -> tuple[dict[str, float], Callable[[], object]]:
    """What simkit does with the weights that the other side saved: see :func:`_steps`."""
    import torch

    from simkit import System, evaluate
    from simkit.neighbours import build_neighbours
    from simkit.potentials.model_file import load_model

    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model, device=arguments.device)
    system = System.from_ase(structures(arguments.system, arguments.file), dtype=model.dtype, device=model.device)
    neighbours = build_neighbours(system, CUTOFF)

    def evaluated(training: bool) -> tuple[Any, Any]:
        found = evaluate(model, system, neighbours, create_graph=training)
        return found.energy, found.forces

    return _steps(model, evaluated, arguments)


def _steps(
    model: Any, evaluated: Callable[[bool], tuple[Any, Any]], arguments: argparse.Namespace
) -> tuple[dict[str, float], Callable[[], object]]:
    """What the first call gives (eV) and takes (processor time in s, compilers included), and a step."""
    import torch

    if arguments.mode == "ef":
        model.requires_grad_(False)
    start = _processor_time()
    first = {"energy": float(evaluated(False)[0].detach().sum()), "seconds": _processor_time() - start}
    if arguments.mode == "ef":
        return first, lambda: evaluated(False)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, amsgrad=True, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        energy, forces = evaluated(True)
        (energy.square().mean() + 100 * forces.square().mean()).backward()
        optimiser.step()

    return first, step


def _processor_time() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def serve(arguments: argparse.Namespace) -> None:
    """Do a step for each line of the input, and answer with what it took."""
    with chosen(arguments):
        first, step = {"simkit": own_side, "mace": peer_side}[arguments.side](arguments)
        answer(first, step, arguments)


def chosen(arguments: argparse.Namespace) -> AbstractContextManager[None]:
    """The implementation that simkit's side uses."""
    if arguments.side == "mace":
        return nullcontext()
    from simkit.potentials.kernels import kernels

    return kernels(arguments.kernels)


def answer(first: dict[str, float], step: Callable[[], object], arguments: argparse.Namespace) -> None:
    """Print what the first call gave; then do a step for each line of the input and print what it took.

    That is wall-clock and processor time in seconds; for the line ``memory``, the most memory above that before in MB.
    """
    import torch

    wait = torch.cuda.synchronize if arguments.device.startswith("cuda") else lambda: None
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        wait()
        before = start_memory() if line.strip() == "memory" else 0.0
        start = time.perf_counter(), time.process_time()
        step()
        wait()
        times = [time.perf_counter() - start[0], time.process_time() - start[1]]
        print(json.dumps(memory("VmHWM") - before if before else times), flush=True)


def memory(field: str) -> float:
    """Memory of this process in MB: ``VmRSS`` now, ``VmHWM`` at most since :func:`start_memory`; on Linux alone."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return float(line.split()[1]) / 1e3


def start_memory() -> float:
    """Hand free memory back to the system, forget the maximum of before, and return what there is in MB."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")
