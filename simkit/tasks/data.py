"""Files of labelled frames: opened as their reading settings say, and shared out to train, validate and test."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from simkit.datasets.ase_frames import CANDIDATES
from simkit.datasets.base import Dataset, Frame
from simkit.datasets.combine import Subset
from simkit.datasets.files import open_dataset
from simkit.datasets.json_records import JsonRecords
from simkit.datasets.splits import split_by_group, split_random
from simkit.errors import DataError
from simkit.training.sources import ReadingSettings, SplitSettings

LABEL_KEYS = frozenset(key for keys in CANDIDATES.values() for key in keys)


@dataclass(frozen=True)
class Parts:
    """Frames to train, to validate and to test, without isolated atoms; these serve the reference energies."""

    training: Dataset
    validation: Dataset
    test: Dataset | None
    isolated: Dataset
    record: dict[str, Any]


class Reversed(Dataset):
    """Another dataset's frames with the signs of forces or stress that simkit uses.

    Args:
        dataset: whose frames.
        forces_sign: -1 if its forces are gradients.
        stress_sign: -1 if compression is positive in it.
    """

    def __init__(self, dataset: Dataset, forces_sign: int, stress_sign: int) -> None:
        self.dataset = dataset
        self.signs = (forces_sign, stress_sign)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        frame = self.dataset[index]
        forces, stress = map(_signed, (frame.labels.forces, frame.labels.stress), self.signs)
        return replace(frame, labels=replace(frame.labels, forces=forces, stress=stress))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the dataset."""
        return self.dataset.files

    def atom_counts(self) -> np.ndarray:
        """Number of atoms of each frame."""
        return self.dataset.atom_counts()


def open_data(path: str | os.PathLike[str], reading: ReadingSettings | None = None) -> Dataset:
    """The frames of a file.

    Args:
        path: in any format of :func:`simkit.datasets.files.open_dataset`.
        reading: keys, units, signs; recognised by default.

    Raises:
        DataError: nothing there, a damaged file, or settings that do not fit its format.
    """
    reading = reading or ReadingSettings()
    dataset = open_dataset(path, **reading.options())
    if reading.stress_order is not None and not isinstance(dataset, JsonRecords):
        raise DataError(f"{path}: only JSON records have an order of shear stresses; remove stress_order")
    if reading.forces_sign == reading.stress_sign == 1:
        return dataset
    return Reversed(dataset, reading.forces_sign, reading.stress_sign)


def without_other_labels(frame: Frame) -> Frame:
    """The frame without data that would be taken for its labels when it is written and read again."""
    info = {key: value for key, value in frame.info.items() if key not in LABEL_KEYS}
    arrays = {key: value for key, value in frame.arrays.items() if key not in LABEL_KEYS}
    return replace(frame, info=info, arrays=arrays)


def open_parts(
    data: str | os.PathLike[str],
    validation: str | os.PathLike[str] | None,
    test: str | os.PathLike[str] | None,
    split: SplitSettings,
    seed: int,
    reading: ReadingSettings | None = None,
) -> Parts:
    """Open the files, all in the same way, and split what has to be split.

    Raises:
        DataError: a split of what is given as a file, or nothing left to train or validate on.
    """
    if test is not None and split.test:
        raise DataError("expected either a test file or split.test, found both: remove one of them")
    dataset = open_data(data, reading)
    alone = _isolated(dataset)
    kept = [index for index in range(len(dataset)) if index not in alone]
    sizes = {"train": split.train, "validation": 0 if validation is not None else split.validation, "test": split.test}
    divide = split_by_group if split.by == "group" else split_random
    chosen = divide(Subset(dataset, kept), **sizes, seed=seed)  # type: ignore[arg-type]
    if not chosen.train or not (chosen.validation or validation is not None):
        raise DataError(
            f"{data}: of {len(kept)} frames {len(chosen.train)} are left to train and {len(chosen.validation)} to "
            "validate on: expected some of each; give more frames, a validation file or other numbers in split"
        )

    def places(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(kept[index] for index in indices)

    record = replace(
        chosen,
        train=places(chosen.train),
        validation=places(chosen.validation),
        test=places(chosen.test),
        frames=len(dataset),
    )
    training, for_validation, for_test = record.apply(dataset)
    if test is None and split.test and not len(for_test):
        raise DataError(f"{data}: split.test {split.test} of {len(kept)} frames are none: give a larger number")
    return Parts(
        training,
        for_validation if validation is None else open_without_isolated_atoms(validation, reading),
        (for_test if len(for_test) else None) if test is None else open_without_isolated_atoms(test, reading),
        Subset(dataset, sorted(alone)),
        asdict(record),
    )


def open_without_isolated_atoms(path: str | os.PathLike[str], reading: ReadingSettings | None) -> Dataset:
    """The frames of a file that are not isolated atoms.

    Raises:
        DataError: there are none.
    """
    dataset = open_data(path, reading)
    alone = _isolated(dataset)
    if len(alone) == len(dataset):
        raise DataError(f"{path}: expected molecules or crystals, found isolated atoms only")
    return Subset(dataset, [index for index in range(len(dataset)) if index not in alone]) if alone else dataset


def _isolated(dataset: Dataset) -> set[int]:
    """Indices of the frames that are isolated atoms."""
    single = np.flatnonzero(dataset.atom_counts() == 1).tolist()
    return {index for index in single if dataset[index].is_isolated_atom}


def _signed(values: Tensor | None, sign: int) -> Tensor | None:
    return None if values is None else sign * values
