"""Read models of mace-torch into simkit's MACE."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simkit.errors import ModelFileError, SimkitError
from simkit.potentials.default_dtype import default_dtype
from simkit.potentials.mace import MACE
from simkit.potentials.mace_torch.archive import archive_names, read_archive
from simkit.potentials.mace_torch.configuration import configuration
from simkit.potentials.mace_torch.objects import Module
from simkit.potentials.mace_torch.translation import translate


def read_mace_torch(
    path: str | os.PathLike[str],
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    head: str | None = None,
) -> MACE:
    """Read a ``.model`` file of mace-torch; neither mace-torch nor its version of e3nn is needed.

    Nothing in the file is executed. Couplings and other constants are taken as stored, so a float32 model keeps its
    rounded ones when it computes in float64, as it does in mace-torch.

    Args:
        path: what mace-torch's training, or ``torch.save(model, path)``, wrote.
        dtype: floating-point type to compute in; that of the file by default. Reference energies stay float64.
        device: where to put the potential.
        head: level of theory to use; needed for a model with several of which none is called "default".

    Raises:
        ModelFileError: a damaged or hostile file, another kind of file, a model that uses something unsupported, or a
            head that it does not have.
    """
    model = open_mace_torch(path)
    with default_dtype(torch.float64):
        try:
            arguments = configuration(model)
            potential = MACE(**arguments, default_head=_head(arguments["heads"], head))
            state = translate(model.tensors(), potential.state_dict())
        except SimkitError as error:
            raise ModelFileError(f"{Path(path).name}: {error}") from error
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            message = (
                f"{Path(path).name} is damaged: the parts of the model do not fit ({type(error).__name__}: {error})"
            )
            raise ModelFileError(message) from error
    potential.load_state_dict(state)
    stored = model.tensor("r_max").dtype
    return potential.to(device=device, dtype=dtype or stored).eval()


def heads_of(path: str | os.PathLike[str]) -> list[str]:
    """Names of the levels of theory of a ``.model`` file.

    Raises:
        ModelFileError: as :func:`read_mace_torch`.
    """
    return list(open_mace_torch(path).attribute("heads") or ["Default"])


def open_mace_torch(path: str | os.PathLike[str]) -> Module:
    """The description of the model in a file.

    Raises:
        ModelFileError: the file holds no whole model; the message says what it holds.
    """
    name = Path(path).name
    records = archive_names(path)
    if "constants.pkl" in records or any(record.startswith("code/") for record in records):
        raise ModelFileError(
            f"{name} is compiled (TorchScript), as *_compiled.model files and those of mace_create_lammps_model are: "
            "it runs code of its own. Give the .model file that it was made from"
        )
    content = read_archive(path)
    if isinstance(content, Mapping):
        raise ModelFileError(f"{name} {_what_mapping(content)}. Give the .model file of the same training")
    try:
        return Module.of(content)
    except ModelFileError as error:
        raise ModelFileError(f"{name} holds no model of mace-torch: {error}") from error


def _what_mapping(content: Mapping[Any, Any]) -> str:
    if {"model", "optimizer"} <= set(content):
        return "is a training checkpoint: it has weights but does not say how the model is built"
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return "is a state dict: it has weights but does not say how the model is built"
    return "holds a dictionary, not a model"


def _head(heads: list[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in heads:
            raise ModelFileError(f"there is no head {wanted!r}; the heads of this model are {', '.join(heads)}")
        return wanted
    default = [head for head in heads if head.lower() == "default"] or heads
    if len(default) > 1:
        raise ModelFileError(
            f"the model was trained on several levels of theory: {', '.join(heads)}. Choose one with head='{heads[0]}' "
            f"(on the command line --head {heads[0]})"
        )
    return default[0]
