"""A ball-and-stick picture of atoms."""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon
from numpy import ndarray

from simkit.report.figures import Figure, as_png, canvas

LARGEST = 300
"""Atoms beyond which a picture shows nothing."""

LIGHT = np.array([-0.38, 0.42])
"""Direction, in the plane of the picture, that the light comes from."""

BOND_RADIUS = 0.13
STICK = np.array([0.62, 0.64, 0.67])


def draw_atoms(atoms: Atoms, caption: str = "") -> Figure:
    """Draw atoms as balls and bonds as sticks, seen along the direction in which they are thinnest.

    Bonds join atoms closer than 1.2 times the sum of their covalent radii. Colours are those of Jmol; what is farther
    away is paler.
    """
    points = _oriented(atoms)
    depth = _fade(points[:, 2])
    bonds = find_bonds(atoms)
    radii = 0.24 + 0.30 * covalent_radii[atoms.numbers]
    low, high = (points[:, :2] - radii[:, None]).min(0) - 0.1, (points[:, :2] + radii[:, None]).max(0) + 0.1
    width, height = np.maximum(high - low, 1.5)
    scale = min(4.2 / width, 3.2 / height)
    with canvas((float(width * scale), float(height * scale))) as (figure, axes):
        figure.set_layout_engine("none")
        axes.set_position((0, 0, 1, 1))
        for i, j in bonds:
            _draw_bond(axes, points, radii, depth, i, j)
        for index in range(len(atoms)):
            _draw_ball(axes, points[index], radii[index], jmol_colors[atoms.numbers[index]], depth[index])
        centre = (low + high) / 2
        axes.set_xlim(centre[0] - width / 2, centre[0] + width / 2)
        axes.set_ylim(centre[1] - height / 2, centre[1] + height / 2)
        axes.set_aspect("equal")
        axes.axis("off")
        png = as_png(figure)
    formula = atoms.get_chemical_formula()
    return Figure(png, f"Ball-and-stick picture of {formula}: {len(atoms)} atoms, {len(bonds)} bonds.", caption)


def find_bonds(atoms: Atoms) -> list[tuple[int, int]]:
    """Pairs of atoms closer than 1.2 times the sum of their covalent radii, within the cell as drawn."""
    radii = covalent_radii[atoms.numbers]
    bonds = []
    for i, j in itertools.combinations(range(len(atoms)), 2):
        distance = np.linalg.norm(atoms.positions[i] - atoms.positions[j])
        if distance < 1.2 * (radii[i] + radii[j]):
            bonds.append((i, j))
    return bonds


def _oriented(atoms: Atoms) -> Float[ndarray, "atoms 3"]:
    """Positions with the widest direction along x and the thinnest towards the viewer, then tilted a little."""
    centred = atoms.positions - atoms.positions.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=True)
    axes = axes * np.sign(axes[np.arange(3), np.abs(axes).argmax(1)])[:, None]
    if np.linalg.det(axes) < 0:
        axes[2] *= -1
    turn, tip = np.radians(18), np.radians(-14)
    about_y = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tip), -np.sin(tip)], [0, np.sin(tip), np.cos(tip)]])
    return centred @ axes.T @ about_y.T @ about_x.T


def _fade(depth: Float[ndarray, " atoms"]) -> Float[ndarray, " atoms"]:
    """How much of the colour remains: 1 at the front, 0.78 at the back."""
    span = np.ptp(depth)
    return np.ones_like(depth) if span < 0.5 else 0.78 + 0.22 * (depth - depth.min()) / span


def _faded(colour: ndarray, remaining: float) -> ndarray:
    return np.clip(remaining * colour + (1 - remaining), 0, 1)


def _pair(point: ndarray) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _draw_ball(axes: Axes, point: ndarray, radius: float, colour: ndarray, remaining: float) -> None:
    """A ball: a dark rim, then ever smaller and lighter discs that move towards the light."""
    axes.add_patch(Circle(_pair(point), radius, color=_faded(colour * 0.42, remaining), zorder=point[2], linewidth=0))
    steps = 26
    for step in range(steps):
        t = step / (steps - 1)
        shade = colour * (0.66 + 0.34 * min(1.0, 1.6 * t))
        lit = shade + (1 - shade) * 0.75 * max(0.0, (t - 0.55) / 0.45) ** 2
        centre = point[:2] + LIGHT * radius * 0.62 * t
        size = radius * (0.965 - 0.86 * t)
        axes.add_patch(
            Circle(_pair(centre), size, color=_faded(lit, remaining), zorder=point[2] + 1e-4 * (step + 1), linewidth=0)
        )


def _draw_bond(axes: Axes, points: ndarray, radii: ndarray, depth: ndarray, i: int, j: int) -> None:
    """A stick, in strips from dark edges to a light middle, in two halves so that nearer balls cover it."""
    along = points[j, :2] - points[i, :2]
    length = np.linalg.norm(along)
    if length < 1e-6:
        return
    across = np.array([-along[1], along[0]]) / length
    across = across if across @ LIGHT > 0 else -across
    middle = (points[i] + points[j]) / 2
    for index in (i, j):
        nearest = min(points[index, 2], middle[2]) - 0.02
        remaining = depth[index]
        for strip in range(9):
            t = strip / 8
            half = BOND_RADIUS * (1 - 0.92 * t)
            shift = across * BOND_RADIUS * 0.45 * t
            colour = STICK * (0.5 + 0.5 * t) if strip else STICK * 0.42
            ends = (points[index, :2] + shift, middle[:2] + shift)
            corners = [
                ends[0] - across * half,
                ends[1] - across * half,
                ends[1] + across * half,
                ends[0] + across * half,
            ]
            patch = Polygon(corners, color=_faded(colour, remaining), zorder=nearest + 1e-4 * strip, linewidth=0)
            axes.add_patch(patch)
