"""How well WENO5 solves the benchmark equations of message-passing PDE solvers, in their authors' metric.

Usage::

    python -P benchmarks/pde/e1_weno.py [--equation e1|e2|e3] [--trajectories 16] [--cells 100 50 40] [--highest 3]
    python -P benchmarks/pde/e1_weno.py --released-grid

The metric of a trajectory is ``(1/n) Σ_{t=50..249} Σ_x (u - u*)²`` over 250 times in [0, 4]. The first form solves on
few cells and compares with averages of a solution on 800 (Brandstetter, Worrall, Welling, ICLR 2022, arXiv:2202.03376).

The second form repeats the grids of the authors' release, whose points ``linspace(0, 16, n)`` hold both ends of the
periodic interval while the solver's spacing is 16/n, and whose reference of 200 points is thinned out by index. Points
of one index then have different places on different grids; this makes most of the errors published for WENO5 (2.02,
6.23, 9.63 for E1 on 100, 50 and 40 points).

Times are CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import math
import time
from functools import partial

import torch
from torch import Tensor

from simkit.flows import Every, Flow, integrate
from simkit.solvers.finite_volume import (
    FiniteVolumes,
    ForcedBurgersKdV,
    Periodic,
    Quadratic,
    explicit_steps,
    godunov,
)
from simkit.solvers.ode import OdeState

TIMES, END, FIRST = 250, 4.0, 50
BATCH = 16


def trajectory(flow: Flow[OdeState], start: OdeState) -> Tensor:
    """Values at all times, with the axes (systems, times, points)."""
    kept: list[Tensor] = []
    result = integrate(
        flow, start, END / (TIMES - 1), TIMES - 1, observers=[Every(1, lambda step, state: kept.append(state.values))]
    )
    assert result.finished, result.outcomes
    return torch.cat(kept, 1)


def metric(found: Tensor, exact: Tensor) -> Tensor:
    """Of each trajectory."""
    return (found - exact)[:, FIRST:].square().mean(-1).sum(-1)


def correct(family: ForcedBurgersKdV, cells: list[int], reference: int) -> dict[int, tuple[Tensor, float]]:
    """Errors and seconds on cells of one interval."""
    fine = family.grid(reference)
    exact = trajectory(family.flow(fine), family.start(fine))
    found = {}
    for n in cells:
        grid, begun = family.grid(n), time.process_time()
        values = trajectory(family.flow(grid), family.start(grid))
        found[n] = metric(values, fine.coarsened(exact, n)), time.process_time() - begun
    return found


def released(family: ForcedBurgersKdV, cells: list[int], reference: int) -> dict[int, tuple[Tensor, float]]:
    """Errors and seconds with the grids of the release."""

    def solved(n: int) -> Tensor:
        source = partial(family.forcing.at, torch.linspace(0, family.forcing.length, n, dtype=torch.float64))
        equation = FiniteVolumes(Quadratic(family.a), family.grid(n), Periodic(), godunov, source=source)
        return trajectory(explicit_steps(equation), OdeState.of(source(torch.zeros(len(family.a)))))

    exact, found = solved(reference), {}
    for n in cells:
        begun = time.process_time()
        found[n] = metric(solved(n), exact[..., :: reference // n]), time.process_time() - begun
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--equation", choices=["e1", "e2", "e3"], default="e1")
    parser.add_argument("--trajectories", type=int, default=BATCH)
    parser.add_argument("--cells", type=int, nargs="+", default=[100, 50, 40])
    parser.add_argument("--reference", type=int, help="number of cells, 800 or with --released-grid 200")
    parser.add_argument("--highest", type=int, default=3, help="wavenumber of the forcing; the release draws 1 and 2")
    parser.add_argument("--seed", type=int, default=0, help="of the first batch")
    parser.add_argument("--released-grid", action="store_true", help="E1 on the grids of the authors' release")
    arguments = parser.parse_args()
    if arguments.released_grid and arguments.equation != "e1":
        parser.error("--released-grid is for E1 alone")
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    solve = released if arguments.released_grid else correct
    reference = arguments.reference or (200 if arguments.released_grid else 800)
    errors: dict[int, list[Tensor]] = {n: [] for n in arguments.cells}
    seconds = dict.fromkeys(arguments.cells, 0.0)
    for batch in range(math.ceil(arguments.trajectories / BATCH)):
        systems = min(BATCH, arguments.trajectories - BATCH * batch)
        family = getattr(ForcedBurgersKdV, arguments.equation)(systems, arguments.seed + batch, arguments.highest)
        for n, (values, spent) in solve(family, arguments.cells, reference).items():
            errors[n].append(values)
            seconds[n] += spent
    print(f"{arguments.equation}, {arguments.trajectories} trajectories, reference of {reference} cells")
    print("cells    error   standard error   seconds per trajectory")
    for n in arguments.cells:
        of_all = torch.cat(errors[n])
        deviation = float(of_all.std()) / math.sqrt(len(of_all)) if len(of_all) > 1 else math.nan
        print(f"{n:5d}  {of_all.mean():7.4f}  {deviation:15.4f}  {seconds[n] / len(of_all):23.4f}")


if __name__ == "__main__":
    main()
