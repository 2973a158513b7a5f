"""Pairs of atoms within a cutoff, periodic images included."""

from simkit.neighbours.pairs import Neighbours, concatenate_neighbours, select_neighbours
from simkit.neighbours.reuse import NeighbourList
from simkit.neighbours.search import build_neighbours

__all__ = ["NeighbourList", "Neighbours", "build_neighbours", "concatenate_neighbours", "select_neighbours"]
