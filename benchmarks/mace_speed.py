"""Time simkit's MACE beside mace-torch: the same weights, the same structures, one step of either in turn.

Usage, with mace-torch in an environment of its own (``python benchmarks/peers/make_environment.py mace``)::

    python benchmarks/mace_speed.py [--peer PYTHON] [--compile-peer] [--threads 1] [--dtype float32] [--device cpu] ...

Each side is a process that keeps its model and structures and does one step when told to, so that both meet the same
load of the machine. The table has the median times, the median of the ratios of neighbouring steps, the most memory of
a step above what the process had before it (on the CPU, in MB), and the processor time of the first evaluation, which
compiles or reads from caches on disk. A step is an evaluation of energy and forces (``ef``), or a training step:
energy, forces, loss, backward and Adam (``train``). Neighbours are built beforehand. simkit reads the file that
mace-torch saved; the sides must agree on the energies.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mace_sides import serve, structures

PEER = Path(__file__).parent / "peers" / "environments" / "mace" / "bin" / "python"
SYSTEMS = ("si64", "water192", "ethanol16")
WIDTHS = ("64x0e", "128x0e+128x1o")
COLUMNS = ("simkit ms", "mace ms", "ratio", "simkit MB", "mace MB", "first s", "mace first s")


class Side:
    """A process that serves one side."""

    def __init__(self, python: str, side: str, options: list[str]) -> None:
        command = [python, "-W", "ignore", __file__, "--side", side, *options]
        self.command = " ".join(command)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.first = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:  # mace-torch also prints notices
            try:
                return json.loads(line)
            except ValueError:
                continue
        sys.exit(f"the process {self.command} ended; run it by hand to see why")

    def step(self) -> list[float]:
        """Wall-clock and processor time of one step in seconds."""
        return self._asked("step")

    def memory(self) -> float:
        """The most memory of one step in MB, above what there was before it."""
        return self._asked("memory")

    def _asked(self, line: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._answer()

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
        options += ["--file", arguments.file] if arguments.file else []
        options += ["--compile-peer"] if arguments.compile_peer else []
        sides = [Side(arguments.peer, "mace", options), Side(sys.executable, "simkit", options)]
        atoms = sum(len(frame) for frame in structures(system, arguments.file))
        allowed = (1e-4 if arguments.dtype == "float32" else 1e-9) * atoms
        energies = [side.first["energy"] for side in sides]
        if not math.isclose(*energies, rel_tol=0, abs_tol=allowed):
            sys.exit(f"{system} {width}: the energies differ, {energies} eV")
        times = np.array([[side.step() for side in sides] for _ in range(arguments.warm_up + arguments.rounds)])
        gpu = arguments.device.startswith("cuda")
        peer_memory, memory = (math.nan, math.nan) if gpu else [side.memory() for side in sides]
        for side in sides:
            side.stop()
    times = times[arguments.warm_up :]
    clock = 0 if gpu else 1  # a busy machine disturbs processor times less
    peer, own = times[:, 0, clock], times[:, 1, clock]
    found = [1e3 * np.median(own), 1e3 * np.median(peer), statistics.median(peer / own), memory, peer_memory]
    found += [sides[1].first["seconds"], sides[0].first["seconds"]]
    return _row(system, width, mode, *[f"{value:.1f}" for value in found])


def _row(system: str, width: str, mode: str, *values: str) -> str:
    return f"{system:10s} {width:15s} {mode:6s}" + "".join(f"{value:>13s}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=str(PEER), help="Python of the environment with mace-torch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kernels", choices=("auto", "reference", "numba"), default="auto", help="simkit's loops")
    parser.add_argument("--rounds", type=int, default=7, help="steps of either side that count")
    parser.add_argument("--warm-up", type=int, default=3, help="steps of either side before those")
    parser.add_argument("--compile-peer", action="store_true", help="use torch.compile in mace-torch (ef alone)")
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, help="siN, water192, ethanolN, framesN (of --file)")
    parser.add_argument("--widths", nargs="+", default=WIDTHS, help="hidden irreps")
    parser.add_argument("--modes", nargs="+", default=("ef", "train"), choices=("ef", "train"))
    parser.add_argument("--file", help="structures that ASE reads")
    for name in ("side", "system", "width", "mode", "model"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side is not None:
        serve(arguments)
        return
    kind = "wall-clock" if arguments.device.startswith("cuda") else "processor"
    print(f"{kind} milliseconds a step, {arguments.dtype}, {arguments.threads} thread(s), {arguments.device}")
    print(_row("system", "hidden irreps", "step", *COLUMNS))
    for width in arguments.widths:
        for system in arguments.systems:
            for mode in arguments.modes:
                print(compare(arguments, system, width, mode), flush=True)


if __name__ == "__main__":
    main()
