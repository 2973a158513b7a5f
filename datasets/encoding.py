"""One frame as bytes: a JSON header and the raw numbers, with no pickle and nothing that could be executed."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from simkit.datasets.base import Frame, Labels
from simkit.datasets.combine import PackedNeighbours
from simkit.errors import DataError
from simkit.system import System

KINDS = {name: np.dtype(name) for name in ("<f8", "<f4", "<i8", "<i4", "|i1", "|u1", "|b1")}
"""Types of numbers that may be stored, little-endian."""


def encode_frame(frame: Frame) -> bytes:
    """Layout: length of the header (4 bytes, little-endian), the header in JSON (UTF-8), the arrays one after another.

    The header has ``arrays: {name: [type, shape]}`` in the order of the arrays, ``texts`` (arrays of other types) and
    ``name, group, weight, info, cutoff``. Array names: ``system.*``, ``labels.*``, ``neighbours.*`` and ``arrays.*``.
    """
    tensors: dict[str, Any] = {f"system.{f.name}": getattr(frame.system, f.name) for f in fields(System)}
    tensors |= {f"labels.{f.name}": getattr(frame.labels, f.name) for f in fields(Labels)}
    if frame.neighbours is not None:
        packed = PackedNeighbours.pack(frame.neighbours)
        tensors |= {f"neighbours.{name}": getattr(packed, name) for name in ("centre", "neighbour", "shift")}
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items() if tensor is not None}
    texts = {}
    for name, value in frame.arrays.items():
        array = np.asarray(value)
        if array.dtype.newbyteorder("<").str in KINDS:
            arrays[f"arrays.{name}"] = array
        else:
            texts[name] = array.tolist()
    little = {name: np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<")) for name, a in arrays.items()}
    header = {
        "arrays": {name: [array.dtype.str, list(array.shape)] for name, array in little.items()},
        "texts": texts,
        "name": frame.name,
        "group": frame.group,
        "weight": frame.weight,
        "info": plain(frame.info),
        "cutoff": None if frame.neighbours is None else frame.neighbours.cutoff,
    }
    text = json.dumps(header, ensure_ascii=False).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(array.tobytes() for array in little.values())])


def decode_frame(raw: bytes, source: str) -> Frame:
    """The frame of :func:`encode_frame`.

    Raises:
        DataError: the bytes are not such a frame.
    """
    try:
        header, arrays = _arrays(raw)
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        system = System(**_part(tensors, "system."))
        labels = Labels(**_part(tensors, "labels."))
        neighbours = None
        if header["cutoff"] is not None:
            neighbours = PackedNeighbours(**_part(tensors, "neighbours."), cutoff=header["cutoff"]).unpack(system.dtype)
        others = {name: array.copy() for name, array in _part(arrays, "arrays.").items()}
        others |= {name: np.array(values) for name, values in header["texts"].items()}
        return Frame(
            system, labels, header["name"], header["group"], header["weight"], neighbours, header["info"], others
        )
    except (struct.error, ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: damaged frame ({error!r}); write the file again") from error


def _arrays(raw: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    (length,) = struct.unpack_from("<I", raw)
    header = json.loads(raw[4 : 4 + length])
    position, arrays = 4 + length, {}
    for name, (kind, shape) in header["arrays"].items():
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(raw, KINDS[kind], count, position).reshape(shape)
        position += arrays[name].nbytes
    if position != len(raw):
        raise ValueError(f"expected {position} bytes, found {len(raw)}")
    return header, arrays


def _part(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def plain(info: Mapping[str, Any]) -> dict[str, Any]:
    """``info`` with NumPy values turned into JSON's; what JSON cannot hold becomes text."""

    def convert(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return convert(value.tolist())
        if isinstance(value, Mapping):
            return {str(key): convert(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [convert(item) for item in value]
        return value if value is None or isinstance(value, bool | int | float | str) else str(value)

    return {str(key): convert(value) for key, value in info.items()}
