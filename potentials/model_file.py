"""Model files: weights as safetensors, and everything needed to rebuild and cite the potential as JSON in the header.

The metadata of the safetensors file has one entry, ``simkit``, which holds a JSON object::

    format_version  int
    potential       {"kind", "config"}; wrappers hold those of what they wrap
    dtype           floating-point type of the coordinates, e.g. "float64"
    elements        chemical symbols
    units           unit of every quantity
    provenance      simkit_version, created (UTC), and what the writer adds, such as the training data and settings
    metrics         errors on held-out data, if given
    citations       references to cite when the potential is used

Nothing in such a file is ever executed. Files of mace-torch are read too, see :mod:`simkit.potentials.mace_torch`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import simkit
from simkit.devices import require_device
from simkit.errors import ModelFileError, SimkitError
from simkit.files import atomic_path
from simkit.floating import floating_type
from simkit.potential import Potential
from simkit.potentials.catalogue import Kinds, build
from simkit.potentials.default_dtype import default_dtype
from simkit.potentials.file_format import Format, detect_format
from simkit.potentials.upgrades import FORMAT_VERSION, upgrade
from simkit.units import UNITS

KEY = "simkit"
REQUIRED = {"potential": dict, "dtype": str, "elements": list, "units": dict, "provenance": dict, "citations": list}


def save_model(
    path: str | os.PathLike[str], potential: Potential, *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a potential to a file, atomically; the usual suffix is ``.simkit``.

    Args:
        path: file to write; an existing one is replaced.
        potential: any potential or wrapper; :func:`load_model` wants the classes of kinds that are not part of simkit.
        metadata: JSON-compatible facts to keep: ``metrics`` becomes an entry of its own, everything else (training data
            and its hash, training settings) goes to the provenance.

    Raises:
        ModelFileError: the metadata or the potential's configuration cannot be written as JSON.
    """
    facts = dict(metadata or {})
    header = {
        "format_version": FORMAT_VERSION,
        "potential": potential.specification(),
        "dtype": _name(potential.dtype),
        "elements": [chemical_symbols[number] for number in potential.capabilities.elements],
        "units": {name: output.unit for name, output in potential.capabilities.outputs.items()}
        | {"positions": UNITS["positions"], "cell": UNITS["cell"]},
        "metrics": facts.pop("metrics", {}),
        "provenance": {
            "simkit_version": simkit.__version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
        },
        "citations": list(potential.capabilities.citations),
    }
    try:
        text = json.dumps(header, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ModelFileError(
            f"the header of {Path(path).name} cannot be written as JSON ({error}): give only numbers, texts, lists and "
            "dictionaries, without NaN"
        ) from error
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in potential.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {KEY: text})


def load_model(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | str | None = None,
    head: str | None = None,
    kinds: Kinds | None = None,
) -> Potential:
    """Read a potential from a simkit model file or from a ``.model`` file of mace-torch; the content tells which.

    Args:
        path: file to read.
        device: where to put the potential.
        dtype: type to compute in, such as ``"float64"``; that of the file by default. Reference energies stay float64.
        head: level of theory to use, for potentials trained on several.
        kinds: classes of your own by their kinds, for files of potentials that are not part of simkit.

    Raises:
        ModelFileError: a missing, damaged, unsupported or hostile file; the message says what was found.
    """
    dtype = floating_type(dtype)
    require_device(device)
    if detect_format(path) is Format.MACE_TORCH:
        from simkit.potentials.mace_torch import read_mace_torch

        return read_mace_torch(path, dtype=dtype, device=device, head=head)
    potential = _load_own(path, dtype, kinds)
    if head is not None:
        from simkit.potentials.one_head import OneHead

        potential = OneHead(potential, head)
    return potential.to(device).eval()


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a simkit model file, in the present format version; tensors are not read.

    Raises:
        ModelFileError: not a simkit model file, a damaged one, or one of a later version.
    """
    name = Path(path).name
    if detect_format(path) is not Format.SIMKIT:
        raise ModelFileError(f"{name} is not a simkit model file but one of mace-torch, which has no such header")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
    except SafetensorError as error:
        raise _damaged(name, error) from error
    if text is None:
        raise ModelFileError(
            f"{name} is a safetensors file, but not one of simkit: it has no header '{KEY}' that says how to rebuild "
            "the potential. Write model files with simkit.save_model"
        )
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(name, error) from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{name}: expected a JSON object as header, found {type(header).__name__}")
    header = upgrade(header, name)
    wrong = [key for key, kind in REQUIRED.items() if not isinstance(header.get(key), kind)]
    if wrong:
        raise ModelFileError(f"{name}: the header lacks {', '.join(wrong)}, or they are of the wrong type")
    return header


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What there is to know about a model file without running it, as a JSON-compatible dictionary.

    Own files give their whole header, files of mace-torch what they have of it.

    Raises:
        ModelFileError: as :func:`load_model`.
    """
    kind = detect_format(path)
    if kind is Format.SIMKIT:
        header = read_header(path)
        with safe_open(path, framework="pt") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 (not a mapping)
        count = sum(int(torch.Size(shape).numel()) for shape in shapes.values())
        return {"file_format": kind.value, "bytes": os.path.getsize(path), "numbers_stored": count, **header}
    from simkit.potentials.mace_torch.reader import heads_of

    potential = load_model(path, head=heads_of(path)[0])
    return {
        "file_format": kind.value,
        "bytes": os.path.getsize(path),
        "numbers_stored": sum(tensor.numel() for tensor in potential.state_dict().values()),
        "potential": potential.specification(),
        "dtype": _name(potential.dtype),
        "elements": [chemical_symbols[number] for number in potential.capabilities.elements],
        "citations": list(potential.capabilities.citations),
    }


def _load_own(path: str | os.PathLike[str], dtype: torch.dtype | None, kinds: Kinds | None) -> Potential:
    name = Path(path).name
    header = read_header(path)
    stored = getattr(torch, header["dtype"], None)
    if not isinstance(stored, torch.dtype) or not stored.is_floating_point:
        raise ModelFileError(f"{name}: expected a floating-point type such as float64, found {header['dtype']!r:.40}")
    try:
        with default_dtype(torch.float64):  # constants that are not in the file keep all their digits
            potential = build(header["potential"], kinds, complete=True)
    except SimkitError as error:
        raise ModelFileError(f"{name}: {error}") from error
    potential = potential.to(dtype or stored)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise _damaged(name, error) from error
    own = potential.state_dict()
    _check_tensors(name, own, tensors)
    if dtype is not None:
        tensors = {key: tensor.to(own[key].dtype) for key, tensor in tensors.items()}
    potential.load_state_dict(tensors, assign=True)
    return potential


def _check_tensors(name: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    if missing or unexpected:
        parts = [f"it lacks {_listed(missing)}"] * bool(missing) + [f"it also has {_listed(unexpected)}"] * bool(
            unexpected
        )
        raise ModelFileError(
            f"{name}: the tensors do not belong to the potential in the header: {' and '.join(parts)}. The file was "
            "edited, or written by another version of simkit"
        )
    for key, tensor in expected.items():
        if tensor.shape != found[key].shape or tensor.is_floating_point() != found[key].is_floating_point():
            raise ModelFileError(
                f"{name}: tensor {key}: expected {_name(tensor.dtype)} of shape {tuple(tensor.shape)}, found "
                f"{_name(found[key].dtype)} of shape {tuple(found[key].shape)}"
            )


def _damaged(name: str, error: Exception) -> ModelFileError:
    return ModelFileError(f"{name} is damaged or incomplete ({error}). Copy or download it again, or train again")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
