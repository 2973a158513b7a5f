"""Time and memory of MACE's energies and forces for silicon crystals of 64 to 4096 atoms.

Usage::

    python benchmarks/mace_scaling.py [--widths 64x0e] [--threads 1] [--dtype float32] [--atoms 64 512 4096]

Steps are done in turn; times are medians of processor time. The exponent is that of ``time ~ atoms^exponent`` by least
squares. Memory is the most above what the process had before the step, on Linux. Neighbours are built beforehand.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from mace_sides import CUTOFF, memory, start_memory, structures

from simkit import System, evaluate
from simkit.neighbours import build_neighbours
from simkit.potentials.mace import MACE


def measure(width: str, atoms: list[int], rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds and MB of a step for each size."""
    torch.manual_seed(0)
    model = MACE(elements=(14,), cutoff=CUTOFF, hidden_irreps=width, average_neighbours=30.0).requires_grad_(False)
    systems = [System.from_ase(structures(f"si{count}"), dtype=model.dtype) for count in atoms]
    neighbours = [build_neighbours(system, CUTOFF) for system in systems]
    times: list[list[float]] = [[] for _ in atoms]
    peaks: list[list[float]] = [[] for _ in atoms]
    for turn in range(1 + rounds):
        for index, (system, pairs) in enumerate(zip(systems, neighbours, strict=True)):
            before, start = start_memory(), time.process_time()
            evaluate(model, system, pairs)
            if turn > 0:
                times[index].append(1e3 * (time.process_time() - start))
                peaks[index].append(memory("VmHWM") - before)
    return [statistics.median(found) for found in times], [statistics.median(found) for found in peaks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", nargs="+", default=("64x0e",), help="hidden irreps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--atoms", nargs="+", type=int, default=(64, 512, 4096), help="8 k³ for integers k")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_default_dtype(getattr(torch, arguments.dtype))
    for width in arguments.widths:
        times, peaks = measure(width, arguments.atoms, arguments.rounds)
        print(f"{width}, {arguments.dtype}, {arguments.threads} thread(s)")
        print(f"{'atoms':>8s} {'ms':>9s} {'us/atom':>9s} {'MB':>9s} {'kB/atom':>9s}")
        for count, found, peak in zip(arguments.atoms, times, peaks, strict=True):
            print(f"{count:8d} {found:9.1f} {1e3 * found / count:9.1f} {peak:9.1f} {1e3 * peak / count:9.1f}")
        exponent = np.polyfit(np.log(arguments.atoms), np.log(times), 1)[0]
        print(f"exponent {exponent:.3f}")


if __name__ == "__main__":
    main()
