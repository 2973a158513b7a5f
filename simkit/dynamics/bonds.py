"""Bonds of fixed length: positions and momenta that respect them, by Newton's method on each molecule."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simkit.dynamics.state import MDState
from simkit.errors import SimkitError


@dataclass(frozen=True)
class Bonds:
    """Bonds ``|r_k| = d_k``, ``r = x[second] - x[first] + shift @ cell``, of all systems of a batch.

    Bonds that share atoms form a cluster, and the bonds of a cluster are solved for together: all clusters in one
    batch of small dense matrices ``A_kl = C_kl r_k · r_l``, ``C = Σ_atoms s_k s_l / m`` with ``s = ±1`` at the ends of
    a bond.

    Attributes:
        first: index of one atom of each bond.
        second: of the other.
        shift: lattice translations of the second atom (whole numbers).
        lengths: d in Å.
        places: bonds of each cluster; the number of bonds fills empty places.
        coupling: C in Å²/(eV fs²), zero at empty places.
        tolerance: of the lengths, relative; what the floating-point type of the positions allows if that is more.
        iterations: of Newton's method, at most.
        strict: raise an error where it does not converge. Otherwise the positions of such a system become NaN, by which
            guards stop it, and the others run on.
    """

    first: Int[Tensor, " bonds"]
    second: Int[Tensor, " bonds"]
    shift: Float[Tensor, "bonds 3"]
    lengths: Float[Tensor, " bonds"]
    places: Int[Tensor, "clusters width"]
    coupling: Float[Tensor, "clusters width width"]
    tolerance: float = 1e-12
    iterations: int = 20
    strict: bool = True

    @property
    def n_bonds(self) -> int:
        """Number of bonds."""
        return self.first.shape[0]

    def vectors(self, state: MDState) -> Float[Tensor, "bonds 3"]:
        """From first to second atoms, in Å."""
        system = state.system
        offsets = torch.einsum("bi,bij->bj", self.shift, system.cell[system.batch[self.first]])
        return system.positions[self.second] - system.positions[self.first] + offsets

    def held(self, state: MDState) -> MDState:
        """The state with the lengths of the bonds, with momenta along none of them; each takes a degree of freedom.

        Raises:
            SimkitError: the lengths cannot be reached from the positions.
        """
        everything = torch.ones_like(state.removed, dtype=torch.bool)
        state, _ = self.shaken(state, self.vectors(state), everything)
        state = self.projected(state, everything)
        count = torch.bincount(state.system.batch[self.first], minlength=state.n_systems)
        return replace(state, removed=state.removed + count)

    def shaken(
        self, state: MDState, reference: Float[Tensor, "bonds 3"], moved: Bool[Tensor, " systems"]
    ) -> tuple[MDState, Float[Tensor, " bonds"]]:
        """Positions with the lengths of the bonds, ``x + Σ_k λ_k s_k r_k / m``, and the multipliers λ in eV fs²/Å².

        Args:
            state: positions to correct.
            reference: vectors r along which atoms are moved, in Å: those of the positions before.
            moved: systems to correct.

        Raises:
            SimkitError: Newton's method does not converge, if strict; it names the worst bond.
        """
        active = moved[state.system.batch[self.first]] & torch.isfinite(reference).all(1)
        multipliers = torch.zeros_like(self.lengths)
        tolerance = max(self.tolerance, 50 * torch.finfo(state.system.dtype).eps)
        for _ in range(self.iterations):
            vectors = self.vectors(state)
            excess = torch.where(active, vectors.square().sum(1) - self.lengths.square(), 0)
            excess = torch.where(torch.isfinite(vectors).all(1), excess, 0)
            if bool((excess.abs() <= 2 * tolerance * self.lengths.square()).all()):
                return state, multipliers
            step = self._solve(vectors, reference, -0.5 * excess)
            multipliers = multipliers + step
            state = state.moved(state.system.positions + self.pulled(state, reference, step) * _inverse(state))
        if self.strict:
            raise self._failure(state, excess)
        failed = excess.abs() > 2 * tolerance * self.lengths.square()
        lost = torch.zeros_like(moved).index_fill(0, state.system.batch[self.first[failed]], True)
        return state.moved(state.system.positions.masked_fill(lost[state.system.batch, None], torch.nan)), multipliers

    def projected(self, state: MDState, moved: Bool[Tensor, " systems"]) -> MDState:
        """The state without the relative velocities along bonds, of the systems that are ``moved``."""
        vectors = self.vectors(state)
        rates = self._rates(state, state.momenta, vectors)
        rates = torch.where(moved[state.system.batch[self.first]], rates, 0)
        multipliers = self._solve(vectors, vectors, -rates)
        return replace(state, momenta=state.momenta + self.pulled(state, vectors, multipliers))

    def virial(self, state: MDState) -> Float[Tensor, "systems 3 3"]:
        """Virial ``Σ_k λ_k r_k ⊗ r_k`` of the forces that hold the bonds at the present momenta and forces, in eV.

        ``Σ_l A_kl λ_l = -r_k · (F/m) - |v|²`` with the differences of F/m and v between the ends of the bond.
        """
        if state.forces is None:
            raise SimkitError("expected a state with forces, found none: evaluate a ForceField first")
        vectors = self.vectors(state)
        velocities = state.momenta * _inverse(state)
        relative = velocities[self.second] - velocities[self.first]
        rates = self._rates(state, state.forces, vectors) + relative.square().sum(1)
        multipliers = self._solve(vectors, vectors, -rates)
        outer = multipliers[:, None, None] * vectors[:, :, None] * vectors[:, None, :]
        return outer.new_zeros(state.n_systems, 3, 3).index_add(0, state.system.batch[self.first], outer)

    def matrices(
        self, left: Float[Tensor, "bonds 3"], right: Float[Tensor, "bonds 3"]
    ) -> Float[Tensor, "clusters width width"]:
        """``A_kl = C_kl left_k · right_l`` of each cluster, with a unit diagonal at empty places."""
        filled = [torch.cat([rows, rows.new_zeros(1, 3)])[self.places] for rows in (left, right)]
        empty = (self.places == self.n_bonds).to(left.dtype)
        return self.coupling * (filled[0] @ filled[1].mT) + torch.diag_embed(empty)

    def _rates(self, state: MDState, rows: Tensor, vectors: Tensor) -> Float[Tensor, " bonds"]:
        """``r · (rows/m)`` of the second atoms less the first."""
        scaled = rows * _inverse(state)
        return (vectors * (scaled[self.second] - scaled[self.first])).sum(1)

    def pulled(self, state: MDState, vectors: Tensor, multipliers: Tensor) -> Float[Tensor, "atoms 3"]:
        """``Σ_k λ_k s_k r_k`` on each atom, zero on fixed ones."""
        pull = multipliers[:, None] * vectors
        total = torch.zeros_like(state.momenta).index_add(0, self.second, pull).index_add(0, self.first, -pull)
        return total if state.system.fixed is None else total.masked_fill(state.system.fixed[:, None], 0)

    def _solve(self, left: Tensor, right: Tensor, values: Tensor) -> Float[Tensor, " bonds"]:
        """Multipliers λ of ``Σ_l C_kl left_k · right_l λ_l = values_k``."""
        matrices = self.matrices(left, right)
        targets = torch.cat([values, values.new_zeros(1)])[self.places]
        solutions, _ = torch.linalg.solve_ex(matrices, targets[:, :, None])
        result = values.new_zeros(self.n_bonds + 1).index_copy(0, self.places.flatten(), solutions.flatten())
        return result[:-1]

    def _failure(self, state: MDState, excess: Tensor) -> SimkitError:
        deviations = torch.nan_to_num(excess.abs() / self.lengths.square(), nan=torch.inf)
        worst = int(deviations.argmax())
        pair = (int(self.first[worst]), int(self.second[worst]))
        length = float(self.vectors(state)[worst].norm())
        return SimkitError(
            f"expected bonds of fixed length to converge within {self.iterations} iterations; found the worst between "
            f"atoms {pair[0]} and {pair[1]} of system {int(state.system.batch[pair[0]])}: {length:.6g} Å instead of "
            f"{float(self.lengths[worst]):.6g} Å. Use a shorter time step, or relax the structure first"
        )


def _inverse(state: MDState) -> Float[Tensor, "atoms 1"]:
    """Inverse masses, zero for fixed atoms."""
    inverse = 1 / state.masses
    return (inverse if state.system.fixed is None else inverse.masked_fill(state.system.fixed, 0))[:, None]
