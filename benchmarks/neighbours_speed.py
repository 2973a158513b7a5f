"""Time searches for neighbours, and Lennard-Jones dynamics beside torch-sim and ASE.

Usage, with torch-sim in an environment of its own (``python benchmarks/peers/make_environment.py torchsim``)::

    python -P benchmarks/neighbours_speed.py [--peer PYTHON] [--rounds 5] [--steps 50] [--only search|dynamics]

All times are of one thread's work (CPU time), so other load of the machine matters little. The programs that do
dynamics are separate processes that work in turn; each runs NVE of the same argon crystals at 80 K with a cutoff of
8.5 Å and steps of 2 fs, in float64, after a start of 20 steps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

PEER = Path(__file__).parent / "peers" / "environments" / "torchsim" / "bin" / "python"
SIZES = {
    "1x216": (1, (6, 6, 6)),
    "32x27": (32, (3, 3, 3)),
    "64x64": (64, (4, 4, 4)),
    "100x20": (100, (5, 2, 2)),
    "1000x20": (1000, (5, 2, 2)),
    "1x400": (1, (10, 8, 5)),
    "1x4000": (1, (20, 20, 10)),
}
EPSILON, SIGMA, CUTOFF = 0.0104, 3.405, 8.5
TEMPERATURE, STEP = 80.0, 2.0


def argon(name: str) -> list[Atoms]:
    """Crystals with atoms displaced as at low temperature."""
    count, repeats = SIZES[name]
    frames = [bulk("Ar", "fcc", a=5.4) * repeats for _ in range(count)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.1, seed=seed)
    return frames


def simkit_steps(frames: list[Atoms]) -> Callable[[int], object]:
    import torch

    from simkit import System
    from simkit.dynamics import ForceField, start, velocity_verlet
    from simkit.potentials.lennard_jones import LennardJones

    flow = velocity_verlet(ForceField(LennardJones(EPSILON, SIGMA, CUTOFF)))
    state = start(System.from_ase(frames), TEMPERATURE)
    dt = torch.full((len(frames),), STEP, dtype=torch.float64)

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state = flow(state, dt)

    return run


def torch_sim_steps(frames: list[Atoms]) -> Callable[[int], object]:
    import torch
    import torch_sim
    from torch_sim.integrators import nve
    from torch_sim.models.lennard_jones import LennardJonesModel
    from torch_sim.units import MetalUnits

    kind = {"device": torch.device("cpu"), "dtype": torch.float64}
    model = LennardJonesModel(sigma=SIGMA, epsilon=EPSILON, cutoff=CUTOFF, **kind)
    state = torch_sim.initialize_state(frames, **kind)
    initialise, update = nve(
        model, dt=torch.tensor(1e-3 * STEP * MetalUnits.time), kT=torch.tensor(TEMPERATURE * MetalUnits.temperature)
    )
    state = initialise(state, seed=0)

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state = update(state)

    return run


def ase_steps(frames: list[Atoms]) -> Callable[[int], object]:
    from ase import units
    from ase.calculators.lj import LennardJones
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet

    runs = []
    for frame in frames:
        frame.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF)
        MaxwellBoltzmannDistribution(frame, temperature_K=TEMPERATURE, rng=np.random.RandomState(0))
        runs.append(VelocityVerlet(frame, STEP * units.fs))
    return lambda steps: [one.run(steps) for one in runs]


SIDES = {"simkit": simkit_steps, "torch-sim": torch_sim_steps, "ASE": ase_steps}


def serve(side: str, name: str) -> None:
    """Run as many steps as each line of the input asks for, and answer with the milliseconds of one."""
    run = SIDES[side](argon(name))
    for line in sys.stdin:
        before = time.process_time()
        run(int(line))
        print(1e3 * (time.process_time() - before) / int(line), flush=True)


def compare_dynamics(name: str, peer: Path, rounds: int, steps: int) -> None:
    command = [os.fspath(Path(__file__).resolve()), "--serve"]
    sides = {}
    for side in SIDES:
        python = os.fspath(peer) if side == "torch-sim" else sys.executable
        sides[side] = subprocess.Popen(
            [python, "-P", *command, side, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(process: subprocess.Popen[str], count: int) -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        print(count, file=process.stdin, flush=True)
        return float(process.stdout.readline())

    few = {"simkit": steps, "torch-sim": max(1, steps // 5), "ASE": max(1, steps // 10)}
    for process in sides.values():
        ask(process, 20)
    times = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, process in sides.items():
            times[side].append(ask(process, few[side]))
    for process in sides.values():
        process.communicate()
    median = {side: statistics.median(values) for side, values in times.items()}
    for side, value in median.items():
        print(f"{name:>8} NVE  {side:>9}: {value:8.2f} ms/step, {value / median['simkit']:6.1f} x simkit", flush=True)


def time_searches(name: str, rounds: int) -> None:
    from simkit import NeighbourList, System, build_neighbours

    system = System.from_ase(argon(name))
    reused = NeighbourList(CUTOFF, 1.0)
    pairs = reused.update(system).n_edges

    def best(run: Callable[[], object], times: int = 1) -> float:
        found = []
        for _ in range(rounds):
            before = time.process_time()
            for _ in range(times):
                run()
            found.append((time.process_time() - before) / times)
        return 1e3 * min(found)

    search, update = best(lambda: build_neighbours(system, CUTOFF, 1.0)), best(lambda: reused.update(system), 20)
    print(f"{name:>8} {pairs:>9} pairs: search {search:8.2f} ms, reuse {update:6.3f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=PEER, help="Python with torch-sim")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--only", choices=("search", "dynamics"))
    parser.add_argument("--serve", nargs=2, metavar=("SIDE", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.only != "dynamics":
        for name in SIZES:
            time_searches(name, options.rounds)
    if options.only != "search":
        for name in ("1x216", "32x27"):
            compare_dynamics(name, options.peer, options.rounds, options.steps)


if __name__ == "__main__":
    main()
