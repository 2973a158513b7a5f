"""The convolution: messages of neighbours, summed over each atom's edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.potentials.irreps import Path
from simkit.potentials.kernels import kernels_apply
from simkit.potentials.kernels.convolution import Layout, fused_convolution
from simkit.potentials.mace.clebsch_gordan import clebsch_gordan


@dataclass(frozen=True)
class Edges:
    """Edges of an evaluation, sorted by centre.

    Attributes:
        centre: receiving atom.
        neighbour: sending atom.
        vectors: from sender to receiver, in Å.
        weight: 1 for an edge, 0 for one that only fills a row; None if there are no such.
        degree: if not None, every atom has exactly this many rows.
        pointers: if not None, kernels compute; the edges of atom i are ``pointers[i]`` to ``pointers[i + 1]``.
    """

    centre: Int[Tensor, " edges"]
    neighbour: Int[Tensor, " edges"]
    vectors: Float[Tensor, "edges 3"]
    weight: Float[Tensor, " edges"] | None = None
    degree: int | None = None
    pointers: Int[Tensor, " pointers"] | None = None

    def arranged(self, n_atoms: int) -> Edges:
        """The same edges as the implementation that suits them wants them."""
        if not kernels_apply(self.vectors):
            return self.padded(n_atoms)
        atoms = torch.arange(n_atoms + 1, device=self.centre.device)
        return replace(self, pointers=torch.searchsorted(self.centre, atoms))

    def padded(self, n_atoms: int, waste: float = 1.6) -> Edges:
        """The same edges with equally many rows for each atom, unless that takes more than ``waste`` times as many.

        Sums over neighbours then are matrix products. Nothing changes within ``torch.compile``.
        """
        n_edges = self.centre.shape[0]
        if torch.compiler.is_compiling() or n_edges == 0:
            return self
        counts = torch.bincount(self.centre, minlength=n_atoms)
        degree = int(counts.max())
        if degree * n_atoms > waste * n_edges:
            return self
        if degree * n_atoms == n_edges:
            return replace(self, degree=degree)
        first = counts.cumsum(0) - counts
        column = torch.arange(degree, device=counts.device)
        real = column < counts[:, None]
        rows = torch.where(real, first[:, None] + column, 0).flatten()
        return Edges(
            centre=torch.arange(n_atoms, device=counts.device).repeat_interleave(degree),
            neighbour=self.neighbour[rows],
            vectors=self.vectors[rows],
            weight=real.flatten().to(self.vectors.dtype),
            degree=degree,
        )


def coupling_table(paths: Sequence[Path], lmax: int) -> Float[Tensor, "harmonics couplings"]:
    """Matrix that maps spherical harmonics to the matrices (m1, m3) of all paths, one after the other, in float64."""
    blocks = []
    for path in paths:
        block = torch.zeros((lmax + 1) ** 2, (2 * path.l1 + 1) * (2 * path.l3 + 1), dtype=torch.float64)
        table = clebsch_gordan(*path).transpose(0, 1)  # m2, m1, m3
        block[path.l2**2 : (path.l2 + 1) ** 2] = table.flatten(1)
        blocks.append(block)
    return torch.cat(blocks, 1)


def convolution(
    features: Sequence[Float[Tensor, "atoms _ channels"]],
    hidden: Float[Tensor, "edges hidden"],
    matrix: Float[Tensor, "hidden weights"],
    harmonics: Float[Tensor, "edges harmonics"],
    edges: Edges,
    paths: Sequence[Path],
    table: Float[Tensor, "harmonics couplings"],
    layout: Layout,
) -> list[Tensor]:
    """``m_{i,p,m3} = Σ_j w_{ij,p} Σ_{m1,m2} C(l1 m1, l2 m2; l3 m3) h_{j,l1,m1} Y_{l2,m2}(r̂_ij)`` in each channel.

    Args:
        features: of the sending atoms, for each degree l1: ``atoms (2·l1+1) channels``.
        hidden: what the radial network makes of each edge before its last, linear layer.
        matrix: the last layer; its columns are (paths, channels): ``w = hidden @ matrix``.
        harmonics: spherical harmonics of each edge.
        edges: which atoms they connect.
        paths: couplings, sorted by l3.
        table: from :func:`coupling_table`.
        layout: from :func:`~simkit.potentials.kernels.convolution.path_layout`.

    Returns:
        For each degree l3, ``atoms (2·l3+1) (paths · channels)``.
    """
    if edges.pointers is not None:
        return fused_convolution(features, hidden, matrix, harmonics @ table, edges.pointers, edges.neighbour, layout)
    atoms, channels = features[0].shape[0], features[0].shape[-1]
    weights = (hidden @ matrix).view(-1, len(paths), channels)
    rows, width = (edges.centre.shape[0], 1) if edges.degree is None else (atoms, edges.degree)
    sizes = [(2 * path.l1 + 1) * (2 * path.l3 + 1) for path in paths]
    matrices = (harmonics @ table).split(sizes, 1)
    senders = [block.index_select(0, edges.neighbour) for block in features]
    messages: list[list[Tensor]] = [[] for _ in range(max(path.l3 for path in paths) + 1)]
    for path, matrix, weight in zip(paths, matrices, weights.unbind(1), strict=True):
        weighted = (senders[path.l1] * weight[:, None, :]).reshape(rows, width * (2 * path.l1 + 1), channels)
        coupling = matrix.reshape(rows, width * (2 * path.l1 + 1), 2 * path.l3 + 1)
        messages[path.l3].append(torch.bmm(coupling.mT, weighted))
    joined = [torch.cat(parts, 2) for parts in messages]
    if edges.degree is not None:
        return joined
    return [part.new_zeros(atoms, *part.shape[1:]).index_add(0, edges.centre, part) for part in joined]
