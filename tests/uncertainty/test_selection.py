"""Choice of frames that differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from simkit.errors import DataError, SimkitError
from simkit.system import System
from simkit.uncertainty.selection import farthest_points, structure_descriptors
from tests.uncertainty.committees import argon, crystal
from tests.uncertainty.examples import painn


def test_each_cluster_is_visited_before_any_is_visited_again() -> None:
    random = np.random.default_rng(0)
    centres = 10.0 * np.eye(5)
    points = np.concatenate([centre + 0.1 * random.normal(size=(20, 5)) for centre in centres])
    chosen = farthest_points(points, 5)
    assert sorted(index // 20 for index in chosen) == [0, 1, 2, 3, 4]
    rest = farthest_points(points, 3, known=centres[:2])
    assert sorted(index // 20 for index in rest) == [2, 3, 4]


def test_the_covering_radius_is_at_most_twice_the_best() -> None:
    line = np.arange(9.0)[:, None]
    chosen = farthest_points(line, 3)
    radius = np.abs(line - line[chosen].T).min(1).max()
    assert radius <= 2 * 1.5
    assert farthest_points(line, 20) == sorted(set(farthest_points(line, 20)), key=farthest_points(line, 20).index)
    assert len(farthest_points(line, 20)) == 9
    assert farthest_points(np.zeros((0, 2)), 3) == []
    with pytest.raises(DataError, match="finite descriptors"):
        farthest_points(np.array([[np.nan]]), 1)


def test_descriptors_are_those_of_a_structure() -> None:
    """Invariant under rotation and repetition; different for different structures; none without features."""
    model = painn(elements=(18,), reference_energies=[[0.0]], cutoff=5.0)
    atoms = crystal()
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    rows = structure_descriptors(
        model, [System.from_ase(one) for one in (atoms, turned, atoms * (2, 1, 1), crystal(2))]
    )
    np.testing.assert_allclose(rows[1:3], rows[[0, 0]], atol=1e-9 * np.abs(rows).max())
    assert np.abs(rows[3] - rows[0]).max() > 1e-6 * np.abs(rows).max()
    member = argon().members[0]
    assert isinstance(member, torch.nn.Module)
    with pytest.raises(SimkitError, match="a lennard-jones potential without"):
        structure_descriptors(member, [System.from_ase(atoms)])  # type: ignore[arg-type]
