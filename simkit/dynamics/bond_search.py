"""Which atoms are held together: bonds of fixed length from pairs of atoms or from distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from simkit.dynamics.bonds import Bonds
from simkit.dynamics.state import MDState
from simkit.errors import SimkitError
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours


def bonds_between(
    state: MDState,
    pairs: Sequence[Sequence[int]] | Int[Tensor, "bonds 2"],
    lengths: float | Sequence[float] | Tensor | None = None,
    *,
    reach: float = 3.0,
) -> Bonds:
    """Bonds of fixed length between pairs of atoms, each to the nearest periodic image.

    Three bonds make a rigid water molecule; any rigid molecule has ``3 n - 6`` independent ones.

    Args:
        state: positions and masses.
        pairs: indices of atoms in the batch.
        lengths: in Å, one for all or one for each; by default those of the positions.
        reach: longest distance in Å in which a pair is searched.

    Raises:
        SimkitError: a pair of the same atom, given twice, farther apart than ``reach`` or between two fixed atoms;
            bonds that depend on one another.
    """
    ends = torch.as_tensor(pairs, device=state.system.device).view(-1, 2).sort(1).values
    _check_pairs(state, ends)
    shift = _shifts(state, ends, reach)
    first, second = ends.unbind(1)
    bonds = Bonds(first, second, shift, torch.ones_like(shift[:, 0]), *_clusters(state, ends))
    found = bonds.vectors(state)
    wanted = found.norm(dim=1) if lengths is None else torch.as_tensor(lengths, dtype=found.dtype, device=found.device)
    if wanted.dim() > 1 or wanted.numel() not in (1, len(ends)) or not bool((wanted > 0).all()):
        raise SimkitError(f"expected one positive length in Å, or one for each of {len(ends)} bonds; found {lengths}")
    bonds = Bonds(first, second, shift, wanted.expand(len(ends)).contiguous(), bonds.places, bonds.coupling)
    _check_independent(bonds, state)
    return bonds


def bonds_to_hydrogen(state: MDState, *, tolerance: float = 1.25) -> Bonds:
    """All bonds of hydrogen atoms, at their present lengths.

    Two atoms are bonded if they are closer than ``tolerance`` times the sum of their covalent radii.
    """
    numbers = state.system.numbers.cpu().numpy()
    reach = tolerance * (covalent_radii[1] + covalent_radii[numbers].max(initial=0.5))
    neighbours = build_neighbours(state.system, float(reach))
    distances = make_graph(state.system, neighbours).vectors.norm(dim=1).cpu().numpy()
    centre, neighbour = neighbours.centre.cpu().numpy(), neighbours.neighbour.cpu().numpy()
    bonded = distances < tolerance * (covalent_radii[numbers[centre]] + covalent_radii[numbers[neighbour]])
    bonded &= (centre < neighbour) & ((numbers[centre] == 1) | (numbers[neighbour] == 1))
    return bonds_between(state, torch.as_tensor(np.stack([centre[bonded], neighbour[bonded]], 1)), reach=float(reach))


def _check_pairs(state: MDState, ends: Tensor) -> None:
    first, second = ends.unbind(1)
    if len(ends) == 0:
        raise SimkitError("expected at least one bond, found none")
    if int(first.min()) < 0 or int(second.max()) >= state.system.n_atoms:
        raise SimkitError(f"expected bonds between atoms 0 to {state.system.n_atoms - 1}, found {ends.tolist()[:5]}")
    if len(torch.unique(ends, dim=0)) < len(ends) or bool((first == second).any()):
        raise SimkitError(
            "expected bonds between different atoms, each given once; found an atom bonded to itself or twice"
        )
    fixed = state.system.fixed
    held = torch.zeros_like(first, dtype=torch.bool) if fixed is None else fixed[first] & fixed[second]
    if bool(held.any()):
        raise SimkitError(
            f"expected bonds of which at least one atom is free, found {ends[held].tolist()[:5]} between fixed atoms: "
            "leave them out"
        )


def _shifts(state: MDState, ends: Tensor, reach: float) -> Float[Tensor, "bonds 3"]:
    """The lattice translation to the nearest image of each second atom."""
    neighbours = build_neighbours(state.system, reach)
    distances = make_graph(state.system, neighbours).vectors.norm(dim=1).cpu().numpy()
    n = state.system.n_atoms
    keys = (neighbours.centre * n + neighbours.neighbour).cpu().numpy()
    order = np.lexsort((distances, keys))
    wanted = (ends[:, 0] * n + ends[:, 1]).cpu().numpy()
    found = np.searchsorted(keys[order], wanted)
    missing = found >= len(keys)
    missing[~missing] = keys[order][found[~missing]] != wanted[~missing]
    if missing.any():
        pair = ends[int(missing.argmax())].tolist()
        raise SimkitError(
            f"expected bonded atoms within {reach:g} Å of one another, found atoms {pair} farther apart: "
            "correct the pairs, or give a longer reach"
        )
    return neighbours.shift[torch.as_tensor(order[found], device=neighbours.shift.device)]


def _clusters(state: MDState, ends: Tensor) -> tuple[Int[Tensor, "clusters width"], Float[Tensor, "clusters w w"]]:
    """Bonds that share atoms, and how a pull along one of them changes the others."""
    edges, n, count = ends.cpu().numpy(), state.system.n_atoms, len(ends)
    _, labels = connected_components(coo_matrix((np.ones(count), (edges[:, 0], edges[:, 1])), shape=(n, n)))
    _, cluster = np.unique(labels[edges[:, 0]], return_inverse=True)
    order = np.argsort(cluster, kind="stable")
    sizes = np.bincount(cluster)
    starts = sizes.cumsum() - sizes
    places = np.full((len(sizes), sizes.max()), count)
    places[cluster[order], np.arange(count) - starts[cluster[order]]] = order
    padded = np.concatenate([edges, [[-1, -1]]])[places]
    inverse = (1 / state.masses).cpu().numpy().copy()
    if state.system.fixed is not None:
        inverse[state.system.fixed.cpu().numpy()] = 0
    signs = np.array([-1.0, 1.0])
    same = padded[:, :, None, :, None] == padded[:, None, :, None, :]
    same &= padded[:, :, None, :, None] >= 0
    weights = np.concatenate([inverse, [0.0]])[padded]
    coupling = np.einsum("cklij,cki,i,j->ckl", same, weights, signs, signs)
    device, dtype = ends.device, state.momenta.dtype
    return torch.as_tensor(places, device=device), torch.as_tensor(coupling, device=device, dtype=dtype)


def _check_independent(bonds: Bonds, state: MDState) -> None:
    """Check that no bond of a cluster follows from the others."""
    vectors = bonds.vectors(state)
    threshold = max(1e-8, 50 * torch.finfo(vectors.dtype).eps)
    ranks = torch.linalg.matrix_rank(bonds.matrices(vectors, vectors), rtol=threshold)
    dependent = torch.nonzero(ranks < bonds.places.shape[1])
    if len(dependent):
        places = bonds.places[dependent[0, 0]]
        places = places[places < bonds.n_bonds]
        atoms = torch.unique(torch.cat([bonds.first[places], bonds.second[places]])).tolist()
        raise SimkitError(
            f"expected bonds that are independent, found some that follow from others among atoms {atoms[:10]}: leave "
            "them out (a rigid molecule of n atoms has 3 n - 6 bonds, a linear one cannot be held by bonds alone)"
        )
