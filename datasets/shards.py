"""Folders of LMDB shards: fast random access to more frames than memory holds, written so that nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_right
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simkit.datasets.base import Dataset, Frame, with_neighbours
from simkit.datasets.encoding import decode_frame, encode_frame
from simkit.datasets.resource import PerProcess
from simkit.errors import DataError, MissingExtraError
from simkit.files import atomic_path, write_json
from simkit.progress import Progress, Silent
from simkit.units import UNITS

FORMAT = "simkit-shards"
VERSION = 1
MANIFEST = "manifest.json"


class ShardDataset(Dataset):
    """Frames of a folder that :func:`write_shards` made.

    ``manifest.json`` holds the format's version, the units, the neighbours' cutoff and, for each shard, its name, size
    in bytes and number of atoms of each frame. A shard is an LMDB file: key, the frame's number in it (8 bytes,
    big-endian); value, :func:`~simkit.datasets.encoding.encode_frame`.

    Raises:
        DataError: the folder is unfinished or damaged.
        MissingExtraError: lmdb is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], *, head: int | None = None) -> None:
        self.folder = Path(folder)
        self.head = head
        self.manifest = _read_manifest(self.folder)
        if not self.manifest["complete"]:
            done = sum(len(shard["atoms"]) for shard in self.manifest["shards"])
            raise DataError(
                f"{self.folder}: unfinished, {done} of {self.manifest['frames']} frames are written: "
                "run the same write_shards again, it continues there"
            )
        for shard in self.manifest["shards"]:
            _check_size(self.folder / shard["name"], shard["bytes"])
        self.starts = np.cumsum([0, *(len(shard["atoms"]) for shard in self.manifest["shards"])]).tolist()
        self._shards = [PerProcess(partial(_open_shard, path), _close) for path in self.files]

    @property
    def cutoff(self) -> float | None:
        """Cutoff in Å of the neighbours that are stored; None if there are none."""
        return self.manifest["cutoff"]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Frame:
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = bisect_right(self.starts, index) - 1
        name = f"{self.manifest['shards'][shard]['name']}:{index - self.starts[shard]}"
        with self._shards[shard].get().begin() as transaction:
            raw = transaction.get(_key(index - self.starts[shard]))
        if raw is None:
            raise DataError(f"{self.folder}: frame {name} is missing: the shard is damaged, write the folder again")
        frame = decode_frame(raw, f"{self.folder}: {name}")
        if self.head is None:
            return frame
        return replace(frame, system=replace(frame.system, head=torch.tensor([self.head])))

    @property
    def files(self) -> tuple[Path, ...]:
        """The shards."""
        return tuple(self.folder / shard["name"] for shard in self.manifest["shards"])

    def atom_counts(self) -> np.ndarray:
        """Number of atoms of each frame, from the manifest."""
        return np.array([count for shard in self.manifest["shards"] for count in shard["atoms"]], dtype=np.int64)


def _open_shard(path: Path) -> Any:
    lmdb = _lmdb()
    try:
        return lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise DataError(f"{path}: damaged shard ({error}): write the folder again") from error


def _close(database: Any) -> None:
    database.close()


def write_shards(
    dataset: Dataset,
    folder: str | os.PathLike[str],
    *,
    frames_per_shard: int = 1000,
    cutoff: float | None = None,
    progress: Progress | None = None,
) -> ShardDataset:
    """Write a dataset as LMDB shards, one shard in memory at a time.

    Killed at any moment and run again with the same arguments, it continues after the last whole shard: no frame is
    lost or doubled.

    Args:
        dataset: the frames.
        folder: where the shards go; made if absent.
        frames_per_shard: number of frames in each file.
        cutoff: also store the neighbours up to this length in Å.
        progress: where progress is shown.

    Raises:
        DataError: the folder holds shards of other frames or settings.
    """
    folder = Path(folder)
    manifest = _start_manifest(dataset, folder, frames_per_shard, cutoff)
    done = sum(len(shard["atoms"]) for shard in manifest["shards"])
    with (progress or Silent()).task("shards", len(dataset), done) as task:
        while done < len(dataset):
            last = min(done + frames_per_shard, len(dataset))
            name = f"shard-{len(manifest['shards']):05d}.lmdb"
            frames = [_prepared(dataset[index], cutoff) for index in range(done, last)]
            atoms = [frame.system.n_atoms for frame in frames]
            _write_shard(folder / name, [encode_frame(frame) for frame in frames])
            size = (folder / name).stat().st_size
            manifest["shards"].append({"name": name, "bytes": size, "atoms": atoms})
            manifest["complete"] = last == len(dataset)
            write_json(folder / MANIFEST, manifest)
            task.advance(last - done)
            done = last
    return ShardDataset(folder)


def _prepared(frame: Frame, cutoff: float | None) -> Frame:
    if cutoff is None or (frame.neighbours is not None and frame.neighbours.cutoff >= cutoff):
        return frame
    return with_neighbours(frame, cutoff)


def _start_manifest(dataset: Dataset, folder: Path, frames_per_shard: int, cutoff: float | None) -> dict[str, Any]:
    if frames_per_shard < 1 or not len(dataset):
        raise DataError(f"expected at least one frame, and one per shard; found {len(dataset)} and {frames_per_shard}")
    settings = {
        "format": FORMAT,
        "version": VERSION,
        "frames": len(dataset),
        "frames_per_shard": frames_per_shard,
        "cutoff": cutoff,
        "source": fingerprint(dataset),
    }
    if (folder / MANIFEST).exists():
        manifest = _read_manifest(folder)
        other = [name for name, value in settings.items() if manifest.get(name) != value]
        if other:
            raise DataError(
                f"{folder} holds shards of other frames or settings ({', '.join(other)}): take a new folder"
            )
        for shard in manifest["shards"]:
            _check_size(folder / shard["name"], shard["bytes"])
        return manifest
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no shards: take a new folder")
    units = {name: UNITS[name] for name in ("positions", "cell", "energy", "forces", "stress", "charge")}
    manifest = {**settings, "units": units, "complete": False, "shards": []}
    write_json(folder / MANIFEST, manifest)
    return manifest


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 of the length and of up to 16 frames, evenly spaced: enough to notice another dataset."""
    digest = hashlib.sha256(str(len(dataset)).encode())
    for index in np.unique(np.linspace(0, len(dataset) - 1, 16).astype(int)):
        digest.update(encode_frame(replace(dataset[int(index)], neighbours=None)))
    return digest.hexdigest()


def _write_shard(path: Path, encoded: list[bytes]) -> None:
    size = sum(len(raw) + 8192 for raw in encoded) + (1 << 20)
    with atomic_path(path) as temporary:
        temporary.unlink()
        database = _lmdb().open(str(temporary), map_size=size, subdir=False, lock=False)
        with database, database.begin(write=True) as transaction:
            for index, raw in enumerate(encoded):
                transaction.put(_key(index), raw, append=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = (manifest["format"], manifest["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error!r}); write the folder again") from error
    if known != (FORMAT, VERSION):
        raise DataError(f"{path}: expected {FORMAT} version {VERSION}, found {known}; update simkit or convert again")
    return manifest


def _check_size(path: Path, size: int) -> None:
    found = path.stat().st_size if path.exists() else None
    if found != size:
        raise DataError(
            f"{path}: expected {size} bytes, found {'no such file' if found is None else found}: "
            "the shard is damaged or lost; write the folder again"
        )


def _key(index: int) -> bytes:
    return index.to_bytes(8, "big")


def _lmdb() -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise MissingExtraError("lmdb", "data", "reading or writing LMDB shards") from error
    return lmdb
