"""Open what ``torch.save`` wrote, without PyTorch's own unpickler and without the classes of the objects in it."""

from __future__ import annotations

import codecs
import math
import os
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simkit.errors import ModelFileError
from simkit.potentials import restricted_pickle
from simkit.potentials.restricted_pickle import Inert

STORAGE_TYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_archive(path: str | os.PathLike[str]) -> Any:
    """The object in a file of ``torch.save``: plain values, tensors on the CPU, inert objects for everything else.

    Raises:
        ModelFileError: not such a file, a damaged one, or one that tries to do harm.
    """
    name = Path(path).name
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(archive, name, os.path.getsize(path)).load()
    except ModelFileError:
        raise
    except FileNotFoundError:
        raise ModelFileError(f"there is no file {path}") from None
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise ModelFileError(
            f"{name} cannot be read: its archive is damaged or incomplete ({error}). Copy or download it again"
        ) from error


def archive_names(path: str | os.PathLike[str]) -> list[str]:
    """Names of the records in a zip archive, without the common folder.

    Raises:
        ModelFileError: the archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelFileError(
            f"{Path(path).name} cannot be read: its archive is damaged or incomplete ({error}). "
            "Copy or download it again"
        ) from error


class _Archive:
    """Records of one file; tensors share memory where the file says so."""

    def __init__(self, archive: zipfile.ZipFile, name: str, size: int) -> None:
        self.archive = archive
        self.name = name
        self.storages: dict[str, Tensor] = {}
        self.records = {record.filename.partition("/")[2]: record for record in archive.infolist()}
        if "data.pkl" not in self.records:
            raise ModelFileError(f"{name}: expected an archive that torch.save wrote, found no data.pkl in it")
        compressed = [record.filename for record in archive.infolist() if record.compress_type != zipfile.ZIP_STORED]
        if compressed or sum(record.file_size for record in archive.infolist()) > size:
            raise ModelFileError(
                f"{name} is refused: its archive is compressed or its records overlap, which torch.save never does "
                "and which can be used to fill the memory"
            )
        if "byteorder" in self.records and archive.read(self.records["byteorder"]).strip() != b"little":
            raise ModelFileError(f"{name} was written on a big-endian machine; convert it there or with PyTorch")

    def load(self) -> Any:
        allowed: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": OrderedDict,
            "builtins.set": set,
            "__builtin__.set": set,
            "_codecs.encode": _encode,
            "torch.Size": tuple,
            "torch._utils._rebuild_tensor_v2": self.rebuild_tensor,
            "torch._utils._rebuild_parameter": _rebuild_parameter,
            "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
            "numpy.core.multiarray.scalar": _numpy_scalar,
            "numpy._core.multiarray.scalar": _numpy_scalar,
        }
        data = self.archive.read(self.records["data.pkl"])
        return restricted_pickle.load(data, allowed, self.storage, self.name)

    def storage(self, identifier: Hashable) -> Tensor:
        """One flat tensor, from ``("storage", type, key, device, number of elements)``."""
        if not (isinstance(identifier, tuple) and len(identifier) == 5 and identifier[0] == "storage"):
            raise ModelFileError(f"{self.name}: expected a reference to a tensor, found {identifier!r:.80}")
        _, kind, key, _, count = identifier
        source = getattr(kind, "source", "")
        dtype = STORAGE_TYPES.get(source.removeprefix("torch."))
        if dtype is None:
            raise ModelFileError(f"{self.name} holds tensors of a type that is not supported: {source or kind!r:.80}")
        record = self.records.get(f"data/{key}")
        if record is None or record.file_size < count * dtype.itemsize:
            raise ModelFileError(f"{self.name} is incomplete: the data of tensor {key!r:.20} are missing or too short")
        if key not in self.storages:
            raw = bytearray(self.archive.read(record))[: count * dtype.itemsize]
            self.storages[key] = torch.frombuffer(raw, dtype=dtype) if raw else torch.zeros(0, dtype=dtype)
        if self.storages[key].dtype != dtype:
            raise ModelFileError(f"{self.name} is damaged: tensor {key!r:.20} has two types")
        return self.storages[key]

    def rebuild_tensor(
        self, storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_unused: Any
    ) -> Tensor:
        """A view into a storage; one that would have more elements than the storage is refused."""
        if math.prod(size) > storage.numel() or min((offset, *size, *stride)) < 0:
            raise ModelFileError(f"{self.name}: a tensor of shape {tuple(size)} is larger than its data")
        return storage.as_strided(tuple(size), tuple(stride), offset)


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 stores bytes."""
    if encoding != "latin1":
        raise ModelFileError(f"expected bytes stored as latin1, found {encoding!r:.20}")
    return codecs.encode(text, "latin1")


def _rebuild_parameter(data: Tensor, *_unused: Any) -> Tensor:
    return data


def _numpy_scalar(kind: Any, data: Any = b"") -> float | int | Inert:
    """A NumPy scalar as a Python number; other types of scalars stay inert."""
    code = kind.arguments[0] if isinstance(kind, Inert) and kind.arguments else None
    formats = {"f8": "<d", "f4": "<f", "i8": "<q", "i4": "<i"}
    if code in formats and isinstance(data, bytes) and len(data) == struct.calcsize(formats[code]):
        return struct.unpack(formats[code], data)[0]
    return Inert(kind, data)
