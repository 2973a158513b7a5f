"""Figures as text for a web page: one style, colours that colour-blind people can tell apart."""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simkit.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#667380"
)  # fmt: skip
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""Colours of M. Okabe and K. Ito, which people with any kind of colour vision tell apart."""

STYLE: Any = {
    "figure.figsize": (3.7, 2.8),
    "figure.dpi": 150,
    "savefig.dpi": 220,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#8a949e",
    "axes.labelcolor": "#28323c",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6eaee",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": "#55606a",
    "ytick.color": "#55606a",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "svg.hashsalt": "simkit",
}


@dataclass(frozen=True)
class Figure:
    """A picture for the page.

    Attributes:
        content: the picture, SVG or PNG.
        description: what it shows, for those who do not see it.
        caption: text below it.
    """

    content: bytes
    description: str
    caption: str = ""

    @property
    def data_uri(self) -> str:
        """The picture as the address of an image."""
        kind = "png" if self.content.startswith(b"\x89PNG") else "svg+xml"
        return f"data:image/{kind};base64," + base64.b64encode(self.content).decode()


@contextmanager
def canvas(size: tuple[float, float] | None = None) -> Iterator[tuple[MatplotlibFigure, Axes]]:
    """A figure and its axes in the report's style; no window and no global state.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report", "drawing the report's figures")
    import matplotlib
    from matplotlib.figure import Figure as MatplotlibFigure

    with matplotlib.rc_context(STYLE):
        figure = MatplotlibFigure(figsize=size or STYLE["figure.figsize"], layout="constrained")
        yield figure, figure.add_subplot()


def as_svg(figure: MatplotlibFigure) -> bytes:
    """The figure as SVG, without the date; call it within :func:`canvas`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return buffer.getvalue()


def as_png(figure: MatplotlibFigure) -> bytes:
    """The figure as PNG, smaller than SVG where there are thousands of shapes; call it within :func:`canvas`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True)
    return buffer.getvalue()
