"""Bring the headers of old model files up to date, one version at a time.

When the layout of the header changes, add a function that turns the previous version into the new one at the end of
``UPGRADES``: the format version is its length. A file of version n goes through ``UPGRADES[n:]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simkit.errors import ModelFileError


def provenance_in_its_own_table(header: dict[str, Any]) -> dict[str, Any]:
    """Version 0 -> 1: what made the file moved from the top level into ``provenance``."""
    header = dict(header)
    header["provenance"] = {key: header.pop(key) for key in ("simkit_version", "created", "training") if key in header}
    return header


UPGRADES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (provenance_in_its_own_table,)
FORMAT_VERSION = len(UPGRADES)
"""Version that is written now."""


def upgrade(header: dict[str, Any], name: str) -> dict[str, Any]:
    """The header in the present version.

    Raises:
        ModelFileError: no version, or one of a later simkit.
    """
    version = header.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise ModelFileError(f"{name}: expected a format version in the header, found {version!r:.40}")
    if version > FORMAT_VERSION:
        written = header.get("provenance", {}).get("simkit_version", "a later version")
        raise ModelFileError(
            f"{name} has format version {version}, this simkit reads versions up to {FORMAT_VERSION}. It was written by "
            f"simkit {written!s:.20}: upgrade with pip install --upgrade simkit-sci"
        )
    for function in UPGRADES[version:]:
        header = function(header)
    return header | {"format_version": FORMAT_VERSION}
