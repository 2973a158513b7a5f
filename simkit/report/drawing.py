"""Figures saved as files of their own."""

from __future__ import annotations

import importlib.util
import os

from simkit.errors import MissingExtraError
from simkit.files import atomic_path
from simkit.report.figures import Figure


def require_drawing() -> None:
    """Check, before long work, that figures can be drawn after it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report", "drawing the plot (or set plot: false)")


def save_figure(path: str | os.PathLike[str], figure: Figure) -> None:
    """Write the picture, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(figure.content)
