"""Training, validation and test sets: disjoint, reproducible, recorded."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simkit.datasets.base import Dataset
from simkit.datasets.combine import Concatenation, Subset
from simkit.errors import DataError
from simkit.files import file_hash, write_json

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Which frames of a dataset train, validate and test; no frame does two of these.

    Attributes:
        train, validation, test: indices of frames.
        method: how they were chosen, for the record.
        frames: length of the dataset.
        files: SHA-256 of each file of the dataset, by name.

    Raises:
        DataError: a frame in two parts or twice in one, or out of range.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    method: dict[str, Any]
    frames: int
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        every = [index for part in PARTS for index in getattr(self, part)]
        if len(set(every)) != len(every):
            twice = sorted(index for index, count in Counter(every).items() if count > 1)
            raise DataError(f"expected train, validation and test to share no frame, found {twice[:10]} more than once")
        if every and not 0 <= min(every) <= max(every) < self.frames:
            raise DataError(f"expected indices from 0 to {self.frames - 1}, found {min(every)} to {max(every)}")

    def apply(self, dataset: Dataset) -> tuple[Subset, Subset, Subset]:
        """The training, validation and test frames of the dataset that the split was made for.

        Raises:
            DataError: the dataset's length or the content of its files has changed.
        """
        if len(dataset) != self.frames:
            raise DataError(f"the split was made for {self.frames} frames, the dataset has {len(dataset)}")
        found = hashes(dataset)
        changed = [name for name, value in self.files.items() if found and found.get(name) != value]
        if changed:
            raise DataError(f"the split was made for other content of {', '.join(changed)}: restore them or split anew")
        return Subset(dataset, self.train), Subset(dataset, self.validation), Subset(dataset, self.test)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the split as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Split:
        """Read a split from JSON.

        Raises:
            DataError: not a split.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            parts = {part: tuple(int(index) for index in data.pop(part)) for part in PARTS}
            return cls(parts["train"], parts["validation"], parts["test"], **data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: cannot be read as a split ({error!r})") from error


def hashes(dataset: Dataset) -> dict[str, str]:
    """SHA-256 of each file of a dataset, by path from the files' common folder; empty without files."""
    files = sorted({Path(file).resolve() for file in dataset.files if Path(file).is_file()})
    if not files:
        return {}
    root = Path(os.path.commonpath([file.parent for file in files]))
    return {str(file.relative_to(root)): file_hash(file) for file in files}


def split_random(
    dataset: Dataset,
    *,
    train: float | int | None = None,
    validation: float | int = 0.1,
    test: float | int = 0,
    seed: int = 0,
) -> Split:
    """Split at random.

    Args:
        dataset: what to split.
        train, validation, test: a fraction (float up to 1) or a number of frames (int); ``train=None`` takes the rest.
        seed: the same seed gives the same split.

    Raises:
        DataError: more is asked for than there is.
    """
    order = np.random.default_rng(seed).permutation(len(dataset))
    return _split(dataset, [[int(index)] for index in order], train, validation, test, {"by": "random", "seed": seed})


def split_by_group(
    dataset: Dataset,
    *,
    train: float | int | None = None,
    validation: float | int = 0.1,
    test: float | int = 0,
    seed: int = 0,
    group: Callable[[int], str] | None = None,
) -> Split:
    """Split at random so that frames of one group stay together; counts are of frames and are not exceeded.

    Args:
        dataset: what to split.
        train, validation, test, seed: as in :func:`split_random`.
        group: name of the group of a frame, by index; None for :attr:`Frame.group`, which reads every frame.
    """
    members: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        members.setdefault(group(index) if group else dataset[index].group, []).append(index)
    if len(members) < 2:
        raise DataError(f"expected several groups, found only {list(members)}: name them with group_key=")
    names = sorted(members)
    order = np.random.default_rng(seed).permutation(len(names))
    method = {"by": "group", "seed": seed}
    return _split(dataset, [members[names[index]] for index in order], train, validation, test, method)


def split_by_file(
    dataset: Concatenation, *, train: Sequence[int], validation: Sequence[int] = (), test: Sequence[int] = ()
) -> Split:
    """Split by file: the arguments are positions in the list of files that was opened."""
    if not isinstance(dataset, Concatenation):
        raise DataError("expected a dataset of several files, found one: open them with open_dataset([...])")

    def frames(parts: Sequence[int]) -> tuple[int, ...]:
        return tuple(i for part in parts for i in range(dataset.starts[part], dataset.starts[part + 1]))

    method = {"by": "file", "train": [*train], "validation": [*validation], "test": [*test]}
    return Split(frames(train), frames(validation), frames(test), method, len(dataset), hashes(dataset))


def split_by_indices(
    dataset: Dataset,
    *,
    train: str | os.PathLike[str] | Sequence[int],
    validation: str | os.PathLike[str] | Sequence[int] = (),
    test: str | os.PathLike[str] | Sequence[int] = (),
) -> Split:
    """Split by explicit indices, or files of them (as revised MD17's ``index_train_01.csv``), counted from 0."""

    def indices(source: str | os.PathLike[str] | Sequence[int]) -> tuple[int, ...]:
        return read_indices(source) if isinstance(source, str | os.PathLike) else tuple(int(i) for i in source)

    method = {"by": "indices"}
    return Split(indices(train), indices(validation), indices(test), method, len(dataset), hashes(dataset))


def read_indices(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Whole numbers from a text file (any of space, comma, newline between them) or a ``.npy`` file.

    Raises:
        DataError: missing, or something else than whole numbers in it.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False).reshape(-1)
            if not np.issubdtype(values.dtype, np.integer):
                raise ValueError(f"an array of {values.dtype}")
            return tuple(values.tolist())
        return tuple(int(word) for word in path.read_text().replace(",", " ").split())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected whole numbers, found {error}") from error


def _split(
    dataset: Dataset,
    blocks: list[list[int]],
    train: float | int | None,
    validation: float | int,
    test: float | int,
    method: dict[str, Any],
) -> Split:
    """Fill validation, test and train, in this order, with whole blocks."""
    total = len(dataset)
    sizes = {"validation": _count(validation, total), "test": _count(test, total)}
    rest = total - sum(sizes.values())
    sizes["train"] = rest if train is None else _count(train, total)
    if rest < 0:
        wanted = ", ".join(f"{part} {sizes[part]}" for part in ("validation", "test"))
        raise DataError(f"expected validation and test of at most {total} frames in all, found {wanted}")
    if sizes["train"] > rest:
        wanted = ", ".join(f"{part} {sizes[part]}" for part in PARTS)
        raise DataError(f"expected parts that sum to at most {total} frames, found {wanted}")
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for block in blocks:
        for part, size in sizes.items():
            if len(parts[part]) + len(block) <= size:
                parts[part].extend(block)
                break
        else:
            if train is None:
                parts["train"].extend(block)
    empty = [part for part in PARTS if sizes[part] and not parts[part]]
    if empty:
        raise DataError(
            f"no group is small enough for {', '.join(empty)}: ask for more frames there, or split at random"
        )
    method = {**method, "train": train, "validation": validation, "test": test}
    indices = {part: tuple(sorted(parts[part])) for part in PARTS}
    return Split(indices["train"], indices["validation"], indices["test"], method, total, hashes(dataset))


def _count(size: float | int, total: int) -> int:
    if isinstance(size, float):
        if not 0 <= size <= 1:
            raise DataError(f"expected a fraction from 0 to 1, or a whole number of frames, found {size}")
        return round(size * total)
    if size < 0:
        raise DataError(f"expected a number of frames, found {size}")
    return size
