"""Irreducible representations of natural parity and how they couple."""

from __future__ import annotations

import re
from typing import NamedTuple

from simkit.errors import SimkitError


class Path(NamedTuple):
    """A coupling of features of degree ``l1`` with harmonics of degree ``l2`` to messages of degree ``l3``."""

    l1: int
    l2: int
    l3: int


def parse_irreps(text: str) -> tuple[int, ...]:
    """Channels of degree 0, 1, ... of irreps of natural parity: ``"128x0e+128x1o"`` -> ``(128, 128)``.

    Raises:
        SimkitError: another parity, a missing degree, degrees out of order, or not irreps at all.
    """
    channels = []
    for degree, term in enumerate(text.replace(" ", "").split("+")):
        match = re.fullmatch(r"(?:(\d+)x)?(\d+)([eo])", term)
        if match is None or int(match[2]) != degree or match[3] != "eo"[degree % 2]:
            raise SimkitError(
                f"expected irreps of degree 0, 1, 2, ... with natural parity, such as '128x0e+128x1o+128x2e'; "
                f"found '{text}'"
            )
        channels.append(int(match[1] or 1))
    return tuple(channels)


def coupling_paths(l1_max: int, l2_max: int, l3_max: int) -> tuple[Path, ...]:
    """All couplings that keep natural parity, in the order of the radial weights: by l3, then l1, then l2."""
    paths = [
        Path(l1, l2, l3)
        for l1 in range(l1_max + 1)
        for l2 in range(l2_max + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, l3_max) + 1, 2)
    ]
    return tuple(sorted(paths, key=lambda path: path.l3))
