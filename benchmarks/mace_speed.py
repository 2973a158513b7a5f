"""Time simkit's MACE beside mace-torch: the same weights, the same structures, one step of either in turn.

Usage, with mace-torch in an environment of its own (``python benchmarks/peers/make_environment.py mace``)::

    python benchmarks/mace_speed.py [--peer PYTHON] [--threads 1] [--dtype float32] [--device cpu] [--kernels auto] ...

Each side is a process that keeps its model and structures and does one step when told to, so that both meet the same
load of the machine; the table has the median times and the median of the ratios of neighbouring steps. A step is an
evaluation of energy and forces (``ef``), or a training step: energy, forces, loss, backward and Adam (``train``).
Neighbours are built beforehand. simkit reads the file that mace-torch saved; the sides must agree on the energies.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

PEER = Path(__file__).parent / "peers" / "environments" / "mace" / "bin" / "python"
SYSTEMS = ("si64", "water192", "ethanol16")
WIDTHS = ("64x0e", "128x0e+128x1o")
CUTOFF = 5.0
LEARNING_RATE = 1e-5


def structures(name: str) -> list[Atoms]:
    """A silicon crystal, a box of 64 water molecules at 1 g/cm³, or a training batch of ethanol."""
    rng = np.random.default_rng(0)
    if name == "si64":
        frames = [bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)]
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


def peer_side(arguments: argparse.Namespace) -> tuple[float, Callable[[], object]]:
    """What mace-torch does with random weights, which it saves for the other side: first energy (eV), and one step."""
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    import torch
    from e3nn import o3
    from mace import modules
    from mace.data import AtomicData, config_from_atoms
    from mace.tools import AtomicNumberTable, torch_geometric

    torch.set_num_threads(arguments.threads)
    torch.set_default_dtype(getattr(torch, arguments.dtype))
    torch.manual_seed(0)
    frames = structures(arguments.system)
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
    model = model.to(arguments.device)
    table = AtomicNumberTable(elements)
    data = [AtomicData.from_config(config_from_atoms(frame), z_table=table, cutoff=CUTOFF) for frame in frames]
    batch = torch_geometric.dataloader.Collater([], [])(data).to(arguments.device).to_dict()

    def evaluated(training: bool) -> tuple[Any, Any]:
        output = model(batch, training=training, compute_force=True)
        return output["energy"], output["forces"]

    return _steps(model, evaluated, arguments)


def own_side(arguments: argparse.Namespace) -> tuple[float, Callable[[], object]]:
    """What simkit does with the weights that the other side saved: first energy (eV), and one step."""
    import torch

    from simkit import System, evaluate
    from simkit.neighbours import build_neighbours
    from simkit.potentials.model_file import load_model

    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model, device=arguments.device)
    system = System.from_ase(structures(arguments.system), dtype=model.dtype, device=model.device)
    neighbours = build_neighbours(system, CUTOFF)

    def evaluated(training: bool) -> tuple[Any, Any]:
        found = evaluate(model, system, neighbours, create_graph=training)
        return found.energy, found.forces

    return _steps(model, evaluated, arguments)


def _steps(
    model: Any, evaluated: Callable[[bool], tuple[Any, Any]], arguments: argparse.Namespace
) -> tuple[float, Callable[[], object]]:
    import torch

    first = float(evaluated(False)[0].sum())
    if arguments.mode == "ef":
        model.requires_grad_(False)
        return first, lambda: evaluated(False)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, amsgrad=True, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        energy, forces = evaluated(True)
        (energy.square().mean() + 100 * forces.square().mean()).backward()
        optimiser.step()

    return first, step


def serve(arguments: argparse.Namespace) -> None:
    """Do a step for each line of the input, and answer with its wall-clock and processor time in seconds."""
    with chosen(arguments):
        first, step = {"simkit": own_side, "mace": peer_side}[arguments.side](arguments)
        answer(first, step, arguments)


def chosen(arguments: argparse.Namespace) -> AbstractContextManager[None]:
    """The implementation that simkit's side uses."""
    if arguments.side == "mace":
        return nullcontext()
    from simkit.potentials.kernels import kernels

    return kernels(arguments.kernels)


def answer(first: float, step: Callable[[], object], arguments: argparse.Namespace) -> None:
    """Print the first energy, then the times of a step for each line of the input."""
    import torch

    wait = torch.cuda.synchronize if arguments.device.startswith("cuda") else lambda: None
    print(json.dumps(first), flush=True)
    for _ in sys.stdin:
        wait()
        start = time.perf_counter(), time.process_time()
        step()
        wait()
        print(json.dumps([time.perf_counter() - start[0], time.process_time() - start[1]]), flush=True)


class Side:
    """A process that serves one side."""

    def __init__(self, python: str, side: str, options: list[str]) -> None:
        command = [python, "-W", "ignore", "-P", __file__, "--side", side, *options]
        self.command = " ".join(command)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.energy = float(self._answer())

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:  # mace-torch also prints notices
            try:
                return json.loads(line)
            except ValueError:
                continue
        sys.exit(f"the process {self.command} ended; run it by hand to see why")

    def step(self) -> tuple[float, float]:
        """Wall-clock and processor time of one step in seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        wall, cpu = self._answer()
        return wall, cpu

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(arguments: argparse.Namespace, system: str, width: str, mode: str) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--system", system, "--width", width, "--mode", mode, "--model", f"{folder}/a.model"]
        options += ["--threads", str(arguments.threads), "--dtype", arguments.dtype, "--device", arguments.device]
        options += ["--kernels", arguments.kernels]
        sides = [Side(arguments.peer, "mace", options), Side(sys.executable, "simkit", options)]
        atoms = sum(len(frame) for frame in structures(system))
        allowed = (1e-4 if arguments.dtype == "float32" else 1e-9) * atoms
        if not math.isclose(sides[0].energy, sides[1].energy, rel_tol=0, abs_tol=allowed):
            sys.exit(f"{system} {width}: the energies differ, {sides[0].energy} and {sides[1].energy} eV")
        times = np.array([[side.step() for side in sides] for _ in range(3 + arguments.rounds)])[3:]
        for side in sides:
            side.stop()
    clock = 0 if arguments.device.startswith("cuda") else 1  # a busy machine disturbs processor times less
    peer, own = times[:, 0, clock], times[:, 1, clock]
    ratio = statistics.median(peer / own)
    return f"{system:10s} {width:15s} {mode:6s} {1e3 * np.median(own):9.1f} {1e3 * np.median(peer):9.1f} {ratio:7.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=str(PEER), help="Python of the environment with mace-torch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kernels", choices=("auto", "reference", "numba"), default="auto", help="simkit's loops")
    parser.add_argument(
        "--rounds", type=int, default=7, help="steps of either side that count, after three that do not"
    )
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, help="si64, water192, ethanolN")
    parser.add_argument("--widths", nargs="+", default=WIDTHS, help="hidden irreps")
    parser.add_argument("--modes", nargs="+", default=("ef", "train"), choices=("ef", "train"))
    for name in ("side", "system", "width", "mode", "model"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side is not None:
        serve(arguments)
        return
    kind = "wall-clock" if arguments.device.startswith("cuda") else "processor"
    print(f"{kind} milliseconds a step, {arguments.dtype}, {arguments.threads} thread(s), {arguments.device}")
    print(f"{'system':10s} {'hidden irreps':15s} {'step':6s} {'simkit':>9s} {'mace':>9s} {'speedup':>7s}")
    for width in arguments.widths:
        for system in arguments.systems:
            for mode in arguments.modes:
                print(compare(arguments, system, width, mode), flush=True)


if __name__ == "__main__":
    main()
