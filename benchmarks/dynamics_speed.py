"""What a step of dynamics costs beside one evaluation of its potential, and how well it conserves energy.

Usage::

    python -P benchmarks/dynamics_speed.py [--potential mace|lennard-jones] [--repeat 6] [--rounds 15] [--steps 2]
    python -P benchmarks/dynamics_speed.py --drift MODEL --structure FILE [--time 2000]

The first form prints, for each method, the CPU time of a step with its neighbour list (skin, rebuilds included) and how
much more that is than one evaluation of energy and forces with a list that is given and has no skin. Both are timed in
turn in one process, so that both meet the same load; the overhead is the median of the ratios of neighbouring rounds.
For MACE, with 64 scalar channels and random weights, the crystal is silicon; for Lennard-Jones it is argon.
Lennard-Jones beside other programs is timed by ``neighbours_speed.py``.

The second form runs velocity Verlet of a structure with a trained model in float64, several times from different
velocities, and prints the mean slope of the total energy with its standard error over the runs.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import ase.io
import numpy as np
import torch
from ase.build import bulk

from simkit import System, evaluate, load_model
from simkit.dynamics import ForceField, MDState, start
from simkit.dynamics.ensembles import ensemble_flow
from simkit.dynamics.log import conserved_energy
from simkit.flows import Flow
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.mace import MACE

EVERY = 20  # steps between two looks at the energy
METHODS = ("nve", "langevin", "bussi", "nose_hoover")


def example(arguments: argparse.Namespace) -> tuple[Potential, System, float]:
    """A potential, a crystal of one atom for each primitive cell (Ar) or two (Si), and its temperature in K."""
    repeat = (arguments.repeat,) * 3
    if arguments.potential == "lennard-jones":
        crystal = bulk("Ar", "fcc", a=5.4) * repeat
        return LennardJones(0.0104, 3.405, 8.5), System.from_ase([crystal] * arguments.systems), 40.0
    crystal = bulk("Si", "diamond", a=5.43, cubic=True) * tuple(r // 2 for r in repeat)
    torch.manual_seed(0)
    model = MACE(elements=[14], cutoff=5.0, hidden_irreps="64x0e").to(arguments.device, getattr(torch, arguments.dtype))
    return model, System.from_ase([crystal] * arguments.systems), 300.0


def seconds(action: Callable[[], object], device: str) -> float:
    """CPU time of one call, or wall time on an accelerator."""
    clock = time.process_time
    if device != "cpu":
        clock = time.perf_counter
        torch.cuda.synchronize()
    begun = clock()
    action()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - begun


class Steps:
    """Steps of one method that go on from call to call."""

    def __init__(self, flow: Flow[MDState], state: MDState, dt: torch.Tensor, steps: int) -> None:
        self.flow, self.state, self.dt, self.steps = flow, state, dt, steps

    def __call__(self) -> None:
        for _ in range(self.steps):
            self.state = self.flow(self.state, self.dt)


def compare(arguments: argparse.Namespace) -> None:
    """Print the table."""
    potential, system, temperature = example(arguments)
    system = system.to(arguments.device)
    same = system.to(dtype=potential.dtype)
    neighbours = build_neighbours(same, potential.cutoff)
    dt = torch.full((system.n_systems,), 1.0, dtype=torch.float64, device=arguments.device)
    print(f"{system.n_systems} x {system.n_atoms // system.n_systems} atoms, {neighbours.n_edges} pairs, "
          f"{potential.dtype}, {arguments.device}")  # fmt: skip
    actions: dict[str, Callable[[], object]] = {
        "evaluation": lambda: [evaluate(potential, same, neighbours) for _ in range(arguments.steps)]
    }
    for method in arguments.methods:
        flow = ensemble_flow(method, ForceField(potential, skin=arguments.skin), temperature=temperature)
        actions[method] = Steps(flow, start(system, temperature), dt, arguments.steps)
    times = np.array(
        [[seconds(one, arguments.device) for one in actions.values()] for _ in range(2 + arguments.rounds)]
    )[2:]
    print(f"{'':12s} {'ms':>8s} {'overhead':>9s}")
    for name, column in zip(actions, times.T, strict=True):
        overhead = statistics.median(column / times[:, 0]) - 1
        print(f"{name:12s} {1e3 * np.median(column) / arguments.steps:8.2f} {100 * overhead:8.1f}%")


def drift(arguments: argparse.Namespace) -> None:
    """Print the slope of the total energy over several runs at constant energy, from different velocities."""
    model, runs = load_model(arguments.drift, device=arguments.device).double(), arguments.runs
    atoms = ase.io.read(arguments.structure)
    system = System.from_ase([atoms] * runs, device=arguments.device)
    forces = ForceField(model)
    state = forces(start(system, 600.0, generator=torch.Generator(arguments.device).manual_seed(0)))
    flow = ensemble_flow("nve", forces)
    dt = torch.full((runs,), arguments.timestep, dtype=torch.float64, device=arguments.device)
    times, energies = [], []
    for step in range(round(arguments.time / arguments.timestep) + 1):
        if step % EVERY == 0:
            times.append(step * arguments.timestep / 1000)
            energies.append((conserved_energy(state) / len(atoms)).cpu().numpy())
        if step and step % (100 * EVERY) == 0:
            values = 1e6 * np.array(energies)
            slopes = np.polyfit(times, values, 1)[0]
            error = slopes.std(ddof=1) / math.sqrt(runs)
            print(f"{times[-1]:8.2f} ps: drift {slopes.mean():+.3f} ± {error:.3f} µeV/atom/ps of {runs} runs, "
                  f"fluctuation {values.std(0).mean():.1f} µeV/atom", flush=True)  # fmt: skip
        state = flow(state, dt)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potential", choices=("mace", "lennard-jones"), default="mace")
    parser.add_argument("--repeat", type=int, default=6, help="primitive cells along each edge (even for silicon)")
    parser.add_argument("--systems", type=int, default=1)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=2, help="steps in a round")
    parser.add_argument("--skin", type=float, default=1.0, help="in Å")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of MACE")
    parser.add_argument("--drift", metavar="MODEL", help="model file")
    parser.add_argument("--structure", help="structure file for the model")
    parser.add_argument("--runs", type=int, default=4, help="from different velocities; their spread is the error")
    parser.add_argument("--time", type=float, default=2000.0, help="in fs")
    parser.add_argument("--timestep", type=float, default=0.5, help="in fs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    (drift if arguments.drift else compare)(arguments)


if __name__ == "__main__":
    main()
