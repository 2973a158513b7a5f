"""Bring the headers of old model files up to date, one version at a time.

When the layout of the header changes, append a function to ``UPGRADES`` that turns a header of the version before into
one of the new version, and keep a file of the version before among the tests. Its name says what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simkit.errors import ModelFileError

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

UPGRADES: tuple[Upgrade, ...] = ()
"""The n-th function turns version n into version n + 1."""

FORMAT_VERSION = 1 + len(UPGRADES)
"""Version that is written now."""


def upgrade(header: dict[str, Any], name: str, upgrades: Sequence[Upgrade] = UPGRADES) -> dict[str, Any]:
    """The header in the version after the last of ``upgrades``.

    Raises:
        ModelFileError: no version, or one of a later simkit.
    """
    version, newest = header.get("format_version"), 1 + len(upgrades)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelFileError(
            f"{name}: expected a format version from 1 to {newest} in the header, found {version!r:.40}"
        )
    if version > newest:
        raise ModelFileError(
            f"{name} has format version {version}; this simkit reads versions up to {newest}. "
            "Upgrade it: pip install --upgrade simkit-sci"
        )
    for function in upgrades[version - 1 :]:
        header = function(header)
    return header | {"format_version": newest}
