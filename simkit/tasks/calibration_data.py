"""What a calibration reads, and its errors beside deviations as files for plots."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError
from simkit.files import atomic_path
from simkit.tasks.data import open_without_isolated_atoms
from simkit.training.sources import ReadingSettings
from simkit.uncertainty.comparison import Comparison, Target
from simkit.uncertainty.residuals import Residuals

TARGETS: tuple[Target, ...] = ("energy", "force-vectors", "stress")
"""What is judged: forces as vectors, so that nothing depends on the axes."""
FIELDS = ("errors", "sigmas", "groups")
IN_SAMPLE = "calibration frames themselves"
"""Domain that is judged where there are no test frames."""

File = str | os.PathLike[str]


@dataclass(frozen=True)
class Frames:
    """The data of a calibration."""

    training: Dataset | None
    calibration: Dataset
    tests: dict[str, Dataset]

    @property
    def parts(self) -> dict[str, Dataset]:
        """All of them by name."""
        first = {} if self.training is None else {"training": self.training}
        return {**first, "calibration": self.calibration, **self.tests}

    @property
    def domains(self) -> dict[str, Dataset]:
        """What is judged."""
        return self.tests or {IN_SAMPLE: self.calibration}

    @property
    def training_groups(self) -> list[str]:
        """Group of each training frame, if these are known."""
        return [] if self.training is None else [self.training[index].group for index in range(len(self.training))]


def open_frames(data: File, train: File | None, test: Mapping[str, File], reading: ReadingSettings | None) -> Frames:
    """Open all files, without isolated atoms.

    Raises:
        SimkitError: a test domain with the name of another part.
        DataError: a file that cannot be read.
    """
    reserved = {"training", "calibration"} & test.keys()
    if reserved:
        raise SimkitError(f"a test domain cannot be called {reserved.pop()}: give it another name")
    return Frames(
        None if train is None else open_without_isolated_atoms(train, reading),
        open_without_isolated_atoms(data, reading),
        {name: open_without_isolated_atoms(path, reading) for name, path in test.items()},
    )


def write_residuals(path: str | os.PathLike[str], domains: Mapping[str, Comparison]) -> None:
    """Write the errors and deviations of each domain and target to an ``.npz`` file, in eV/atom, eV/Å and eV/Å³.

    Arrays are called ``<domain>/<target>/errors``, ``sigmas`` and ``groups``; of forces there is also the size of the
    predicted force, ``<domain>/force-vectors/size``.
    """
    arrays: dict[str, np.ndarray] = {}
    for domain, comparison in domains.items():
        for target in TARGETS:
            if comparison.has(target) and comparison.sigmas(target) is not None:
                rows = comparison.residuals(target)
                arrays |= {f"{domain}/{target}/{name}": getattr(rows, name) for name in FIELDS}
                if target == "force-vectors":
                    arrays[f"{domain}/{target}/size"] = comparison.free_scores(target)["size of the force"]
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


def read_residuals(path: str | os.PathLike[str]) -> dict[tuple[str, str], Residuals]:
    """What :func:`write_residuals` has left, by domain and target."""
    with np.load(path, allow_pickle=False) as file:
        return {key: _residuals(file, key, "sigmas") for key in _keys(file)}


def read_size_baselines(path: str | os.PathLike[str]) -> dict[str, Residuals]:
    """Errors of the forces with the size of the predicted force in place of deviations, by domain."""
    with np.load(path, allow_pickle=False) as file:
        return {key[0]: _residuals(file, key, "size") for key in _keys(file) if key[1] == "force-vectors"}


def _keys(file: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    words = dict.fromkeys(tuple(name.rsplit("/", 2)[:2]) for name in file)
    return [(domain, target) for domain, target in words]


def _residuals(file: Mapping[str, np.ndarray], key: tuple[str, str], sigmas: str) -> Residuals:
    start = "/".join(key)
    return Residuals(file[f"{start}/errors"], file[f"{start}/{sigmas}"], file[f"{start}/groups"])
