"""How much fits into memory at once: measured on a small batch, not guessed."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from simkit.evaluation import evaluate
from simkit.neighbours import Neighbours, build_neighbours
from simkit.potential import Potential
from simkit.system import System, concatenate

SHARE = 0.5
"""Of the memory that is free when a relaxation starts; the rest is for what the measurement does not see."""

PAIR_BYTES = 100.0
"""For one pair in the neighbour list, beside what the potential needs."""

PROBE_ATOMS = 200
"""Atoms of the measured batch, at least; in a smaller one, costs that do not grow with it would count too much."""

CPU_PAIRS = 200_000.0
"""Pairs of a batch on a CPU; larger ones leave its caches and are no faster."""


@dataclass(frozen=True)
class Budget:
    """What may be evaluated together.

    Attributes:
        max_atoms: of all systems of a batch.
        max_pairs: in the neighbour list of all systems of a batch.
        memory: in bytes.
        bytes_per_atom: that an evaluation needs at its peak.
        bytes_per_pair: of the neighbour list, likewise.
    """

    max_atoms: float = math.inf
    max_pairs: float = math.inf
    memory: float = math.inf
    bytes_per_atom: float = 0.0
    bytes_per_pair: float = 0.0

    def expected_bytes(self, atoms: float, pairs: float) -> float:
        """Memory that a batch needs."""
        return self.bytes_per_atom * atoms + self.bytes_per_pair * pairs

    def fits(self, atoms: int, pairs: float) -> bool:
        """Whether a batch may be so large."""
        return atoms <= self.max_atoms and pairs <= self.max_pairs and self.expected_bytes(atoms, pairs) <= self.memory


def measured_budget(
    potential: Potential,
    systems: Sequence[System],
    *,
    outputs: Sequence[str],
    overhead_per_atom: float = 0.0,
    memory: float | None = None,
) -> Budget:
    """The budget for systems like these.

    The peak of an evaluation is linear in atoms and pairs. Both slopes follow from two evaluations of copies of the
    system of median size, with all pairs within the cutoff and with half of them. Pairs in the skin of a list are
    counted as if they were within the cutoff, as they may come there.

    Args:
        potential: any potential.
        systems: usable ones.
        outputs: what will be evaluated.
        overhead_per_atom: bytes that others keep for each atom.
        memory: in bytes; half of what is free by default.
    """
    memory = SHARE * free_memory(potential.device) if memory is None else memory
    if not systems:
        return Budget(memory=memory)
    middle = sorted(systems, key=lambda system: system.n_atoms)[len(systems) // 2]
    copies = math.ceil(PROBE_ATOMS / middle.n_atoms)
    system = concatenate([middle] * copies).to(potential.device, potential.dtype)
    pairs = build_neighbours(system, potential.cutoff)
    half = torch.arange(0, pairs.n_edges, 2, device=system.device)
    fewer = replace(pairs, centre=pairs.centre[half], neighbour=pairs.neighbour[half], shift=pairs.shift[half])
    evaluate(potential, system, fewer, outputs)
    peak, lower = (peak_bytes(potential, system, found, outputs) for found in (pairs, fewer))
    per_pair = max(peak - lower, 0) / max(pairs.n_edges - fewer.n_edges, 1)
    per_atom = max(peak - per_pair * pairs.n_edges, 0) / system.n_atoms
    return Budget(
        max_pairs=CPU_PAIRS if potential.device.type == "cpu" else math.inf,
        memory=memory,
        bytes_per_atom=per_atom + overhead_per_atom,
        bytes_per_pair=per_pair + PAIR_BYTES,
    )


def peak_bytes(potential: Potential, system: System, neighbours: Neighbours, outputs: Sequence[str]) -> int:
    """Memory in bytes that an evaluation takes at its peak, beyond what was taken before."""
    if system.device.type == "cuda":
        torch.cuda.synchronize(system.device)
        torch.cuda.reset_peak_memory_stats(system.device)
        before = torch.cuda.memory_allocated(system.device)
        evaluate(potential, system, neighbours, outputs)
        return torch.cuda.max_memory_allocated(system.device) - before
    with Meter() as meter:
        evaluate(potential, system, neighbours, outputs)
    return meter.peak


class Meter(TorchDispatchMode):
    """Counts the bytes of all tensors that are made while it is on and are still there; ``peak`` is the most."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._seen:
            return
        self._seen.add(storage._cdata)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def free_memory(device: torch.device) -> float:
    """Bytes that can still be taken on a device."""
    if device.type == "cuda":
        unclaimed, _ = torch.cuda.mem_get_info(device)
        return unclaimed + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = _meminfo()
    for limit, used in CGROUPS:
        if limit.exists() and used.exists() and (bound := limit.read_text().strip()).isdigit():
            free = min(free, float(bound) - float(used.read_text()))
    return free


CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""Limit and use of memory in containers and jobs."""


def _meminfo() -> float:
    path = Path("/proc/meminfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * float(line.split()[1])
    return 0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
