"""Time an ensemble of MACEs: all members at once by ``torch.vmap``, one after the other, and one alone.

Usage::

    python benchmarks/mace_members.py [--members 5] [--threads 1] [--dtype float32] [--systems ...] [--widths ...]

Steps are energies and forces of every member, in turn; the table has medians of processor time. Parameters are stacked;
constants, which members share, are not, so that what depends on the geometry alone is computed once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from mace_sides import CUTOFF, structures
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from simkit import System, evaluate
from simkit.graph import Graph, make_graph
from simkit.neighbours import build_neighbours
from simkit.potentials.mace import MACE

SYSTEMS = ("ethanol1", "ethanol4", "si64")
WIDTHS = ("64x0e", "32x0e+32x1o")


def make_members(width: str, elements: list[int], count: int) -> list[MACE]:
    """Potentials with different random weights."""
    members = []
    for seed in range(count):
        torch.manual_seed(seed)
        members.append(MACE(elements=elements, cutoff=CUTOFF, hidden_irreps=width, average_neighbours=30.0))
    return [member.requires_grad_(False) for member in members]


def vectorised(members: list[MACE], graph: Graph) -> Callable[[], tuple[Tensor, Tensor]]:
    """Energies of all members and their derivatives by the vectors between atoms."""
    parameters, _ = stack_module_state(members)
    buffers = dict(members[0].named_buffers())

    def energy(state: dict[str, Tensor], vectors: Tensor) -> tuple[Tensor, Tensor]:
        seen = Graph(graph.system, graph.centre, graph.neighbour, vectors)
        energies = functional_call(members[0], (state, buffers), (seen,)).energies
        return energies.sum(), energies

    both = vmap(grad(energy, argnums=1, has_aux=True), in_dims=(0, None))
    return lambda: both({name: value.detach() for name, value in parameters.items()}, graph.vectors)


def milliseconds(steps: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median processor time of each of some steps that are done in turn."""
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(2 + rounds):
        for step, found in zip(steps, times, strict=True):
            start = time.process_time()
            step()
            if turn >= 2:
                found.append(1e3 * (time.process_time() - start))
    return [statistics.median(found) for found in times]


def row(system_name: str, width: str, arguments: argparse.Namespace) -> str:
    """A row of the table."""
    frames = structures(system_name)
    elements = sorted({int(number) for frame in frames for number in frame.numbers})
    members = make_members(width, elements, arguments.members)
    system = System.from_ase(frames, dtype=torch.get_default_dtype())
    neighbours = build_neighbours(system, CUTOFF)
    together = vectorised(members, make_graph(system, neighbours))

    def apart() -> list[object]:
        return [evaluate(member, system, neighbours) for member in members]

    energies = together()[1].double().sum(1)
    expected = torch.stack([evaluate(member, system, neighbours).energy.sum() for member in members])
    torch.testing.assert_close(energies, expected, rtol=1e-4, atol=1e-4)
    one, five, joint = milliseconds(
        [lambda: evaluate(members[0], system, neighbours), apart, together], arguments.rounds
    )
    return f"{system_name:10s} {width:14s} {one:8.2f} {five:8.2f} {joint:8.2f} {five / joint:8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, help="as those of mace_speed.py")
    parser.add_argument("--widths", nargs="+", default=WIDTHS, help="hidden irreps")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_default_dtype(getattr(torch, arguments.dtype))
    print(f"processor milliseconds of energies and forces, {arguments.members} members, {arguments.dtype}")
    print(f"{'system':10s} {'hidden irreps':14s} {'one':>8s} {'apart':>8s} {'vmap':>8s} {'speedup':>8s}")
    for width in arguments.widths:
        for system in arguments.systems:
            print(row(system, width, arguments), flush=True)


if __name__ == "__main__":
    main()
