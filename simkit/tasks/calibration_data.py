"""Errors beside calibrated deviations, as files for plots."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from simkit.files import atomic_path
from simkit.uncertainty.comparison import Comparison, Target
from simkit.uncertainty.residuals import Residuals

TARGETS: tuple[Target, ...] = ("energy", "force-vectors", "stress")
FIELDS = ("errors", "sigmas", "groups")


def write_residuals(path: str | os.PathLike[str], domains: Mapping[str, Comparison]) -> None:
    """Write the errors and deviations of each domain and target to an ``.npz`` file, in eV/atom, eV/Å and eV/Å³.

    Arrays are called ``<domain>/<target>/errors``, ``sigmas`` and ``groups``.
    """
    arrays = {}
    for domain, comparison in domains.items():
        for target in TARGETS:
            if comparison.has(target) and comparison.sigmas(target) is not None:
                rows = comparison.residuals(target)
                arrays |= {f"{domain}/{target}/{name}": getattr(rows, name) for name in FIELDS}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


def read_residuals(path: str | os.PathLike[str]) -> dict[tuple[str, str], Residuals]:
    """What :func:`write_residuals` has left, by domain and target."""
    with np.load(path, allow_pickle=False) as file:
        keys = dict.fromkeys(tuple(name.rsplit("/", 2)[:2]) for name in file.files)
        return {
            (domain, target): Residuals(*(file[f"{domain}/{target}/{name}"] for name in FIELDS))
            for domain, target in keys
        }
