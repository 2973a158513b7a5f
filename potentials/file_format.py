"""What a model file is, from its content; the name does not matter."""

from __future__ import annotations

import enum
import os
from pathlib import Path

from simkit.errors import ModelFileError

MAX_HEADER = 100_000_000  # the limit of the safetensors format
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


class Format(enum.Enum):
    """Kinds of files that can be loaded."""

    SIMKIT = "simkit"
    MACE_TORCH = "mace-torch"


def detect_format(path: str | os.PathLike[str]) -> Format:
    """Tell a simkit model file (safetensors) from one of mace-torch (an archive of ``torch.save``).

    Raises:
        ModelFileError: the file is missing, empty, unreadable or something else; the message says what, if known.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file {path}") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    if start.startswith(b"PK\x03\x04"):
        return Format.MACE_TORCH
    if len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= MAX_HEADER:
        return Format.SIMKIT
    raise ModelFileError(f"{path.name} is no model file: {_guess(start)}")


def _guess(start: bytes) -> str:
    if not start:
        return "it is empty. Copy or download it again"
    if start.startswith(LEGACY_MAGIC):
        return (
            "it was written by torch.save in the format from before PyTorch 1.6. Load and save it again with the "
            "program that made it"
        )
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself. Get it with: git lfs pull"
    if start.lstrip()[:1] == b"<":
        return "it is a web page, probably the error message of a failed download"
    if start[:1] == b"\x80":
        return "it is a bare pickle, which can run programs when it is loaded by others. Nothing was run"
    return (
        "expected a simkit model file (safetensors with a simkit header) or a .model file of mace-torch (an archive of "
        "torch.save)"
    )
