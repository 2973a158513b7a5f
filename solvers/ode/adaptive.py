"""Runge-Kutta methods that choose their steps, each system its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.ode.runge_kutta import RightHandSide, combined, stages
from simkit.solvers.ode.tableaus import Tableau
from simkit.system import replaced_rows

SAFETY, SMALLEST, LARGEST = 0.9, 0.2, 5.0
"""Of the factor between two steps."""
PROPORTIONAL, INTEGRAL = 0.4, 0.3
"""Exponents of the error of the last step, and of this one, times the order: K. Gustafsson's controller."""


@dataclass(frozen=True)
class AdaptiveState:
    """Values of a batch of systems, and what the choice of the next step needs to know.

    Attributes:
        values: u.
        time: t of each system.
        step: the size that the next step should have; 0 to let the method find the first one.
        error: of the last step, relative to the tolerance.
        evaluations: of f, so far; those of steps that were refused count.
        refused: number of steps that were refused.
        regularisers: ``Σ E_j |h_j|`` of the estimated errors E_j and ``Σ S_j`` of the stiffness estimates, so far.
    """

    values: Float[Tensor, "systems ..."]
    time: Float[Tensor, " systems"]
    step: Float[Tensor, " systems"]
    error: Float[Tensor, " systems"]
    evaluations: Int[Tensor, " systems"]
    refused: Int[Tensor, " systems"]
    regularisers: Float[Tensor, "systems 2"]

    @classmethod
    def of(cls, values: Float[Tensor, "systems ..."], time: float = 0.0) -> AdaptiveState:
        """At the start."""
        zeros = values.detach().new_zeros(len(values))
        none = torch.zeros(len(values), dtype=torch.int64, device=values.device)
        return cls(values, zeros + time, zeros, zeros + 1, none, none, zeros.new_zeros(len(values), 2))

    @property
    def n_systems(self) -> int:
        """Number of independent systems."""
        return len(self.time)

    def finite(self) -> Bool[Tensor, " systems"]:
        """Whether all values of each system are finite."""
        return torch.isfinite(self.values).reshape(len(self.time), -1).all(1)

    def merged(self, other: AdaptiveState, taken: Bool[Tensor, " systems"]) -> AdaptiveState:
        """The systems of this state, with those that are ``taken`` from another."""
        mine, theirs = vars(self), vars(other)
        return AdaptiveState(**{name: replaced_rows(mine[name], theirs[name], taken) for name in mine})


@dataclass(frozen=True)
class AdaptiveRungeKutta:
    """The flow of ``du/dt = f(u, t)`` in as many steps of an embedded method as the tolerance needs.

    A step h is accepted if ``√⟨(e / (atol + rtol max(|u|, |u'|)))²⟩ ≤ 1`` with the estimated error e; the next one is
    ``h min(5, max(0.2, 0.9 ε^{-0.7/p} ε_before^{0.4/p}))``. The systems of a batch step on their own; those that have
    arrived wait. Gradients go through values and slopes; the sizes of the steps are constants.

    Attributes:
        derivative: f.
        tableau: with an embedded method.
        relative: rtol.
        absolute: atol, in units of u.
        most: number of steps at most, for one call.

    References: E. Hairer, S. P. Nørsett, G. Wanner, Solving Ordinary Differential Equations I, Springer (1993), II.4;
    K. Gustafsson, ACM Trans. Math. Softw. 17, 533 (1991), doi:10.1145/210232.210242; for the sums of errors and
    stiffness, A. Pal et al., Proc. ICML 139, 8325 (2021), arXiv:2105.03918.
    """

    derivative: RightHandSide
    tableau: Tableau
    relative: float = 1e-6
    absolute: float = 1e-9
    most: int = 100_000

    def __post_init__(self) -> None:
        if not self.tableau.error:
            raise SimkitError(
                f"{self.tableau.name} does not estimate its error: use DORMAND_PRINCE, TSITOURAS or BOGACKI_SHAMPINE"
            )
        if not (self.relative > 0 and self.absolute > 0):
            raise SimkitError(f"expected positive tolerances, found {self.relative:g} and {self.absolute:g}")

    def __call__(self, state: AdaptiveState, dt: Float[Tensor, " systems"]) -> AdaptiveState:
        """Advance every system by ``dt``.

        Raises:
            SimkitError: too many steps, or steps too small to change the time: the equation is stiff or has a pole.
        """
        dt = dt.to(state.values.dtype)
        end = state.time + dt
        state = self._with_first_step(state, dt)
        for _ in range(self.most):
            left = end - state.time
            going = left != 0
            if not bool(going.any()):
                return state
            state = self._attempt(state, end, left, going)
        raise SimkitError(
            f"{self.most} steps of {self.tableau.name} did not reach the end (at t = {state.time.tolist()}): the "
            "equation is stiff; use an implicit or exponential method, or larger tolerances"
        )

    def _attempt(self, state: AdaptiveState, end: Tensor, left: Tensor, going: Tensor) -> AdaptiveState:
        """One step of each system that has not arrived, accepted or refused."""
        last = state.step.abs() >= left.abs() * (1 - 1e-12)
        step = torch.where(going, torch.where(last, left, state.step), 0)
        slopes = stages(self.derivative, self.tableau, state.values, state.time, step)
        values = state.values + combined(self.tableau.b, slopes, step)
        deviation = combined(self.tableau.error, slopes, step)
        error = self._relative(deviation.detach(), state.values.detach(), values.detach())
        accepted = going & (error <= 1)
        reached = torch.where(last, end, state.time + step)
        if bool((going & (reached == state.time)).any()) or not bool((torch.isfinite(error) | ~accepted).all()):
            raise SimkitError(
                f"steps of {self.tableau.name} became too small at t = {state.time[going].tolist()}: the solution "
                "has a pole there, or the equation is stiff"
            )
        factor = self._factor(error, state.error, accepted)
        advanced = replace(
            state,
            values=values,
            time=reached,
            error=error.clamp(min=1e-4),
            regularisers=state.regularisers + self._costs(state.values, slopes, deviation, step),
        )
        merged = state.merged(advanced, accepted)
        return replace(
            merged,
            step=torch.where(going & ~(accepted & last), step * factor, state.step),
            evaluations=state.evaluations + len(slopes) * going,
            refused=state.refused + (going & ~accepted),
        )

    def _relative(self, deviation: Tensor, before: Tensor, after: Tensor) -> Float[Tensor, " systems"]:
        allowed = self.absolute + self.relative * torch.maximum(before.abs(), after.abs())
        ratio = (deviation / allowed).reshape(len(deviation), -1).square().mean(1).sqrt()
        return torch.nan_to_num(ratio, nan=torch.inf, posinf=torch.inf)

    def _factor(self, error: Tensor, before: Tensor, accepted: Tensor) -> Float[Tensor, " systems"]:
        order = self.tableau.order
        error = error.clamp(min=1e-10)
        grown = SAFETY * error ** (-(PROPORTIONAL + INTEGRAL) / order) * before ** (PROPORTIONAL / order)
        shrunk = SAFETY * error ** (-1 / order)
        return torch.where(accepted, grown.clamp(SMALLEST, LARGEST), shrunk.clamp(SMALLEST, SAFETY))

    def _costs(self, values: Tensor, slopes: list[Tensor], deviation: Tensor, step: Tensor) -> Tensor:
        """``E |h|``, and ``‖k_s - k_{s-1}‖ / ‖u_s - u_{s-1}‖`` of the last two stages, which bounds an eigenvalue."""
        last = combined(self.tableau.a[-1], slopes[:-1], step) - combined(self.tableau.a[-2], slopes[:-2], step)
        tiny = torch.finfo(values.dtype).tiny

        def norm(tensor: Tensor) -> Tensor:
            return (tensor.reshape(len(tensor), -1).square().sum(1) + tiny).sqrt()

        stiffness = norm(slopes[-1] - slopes[-2]) / norm(last)
        return torch.stack([norm(deviation) * step.abs(), torch.where(step == 0, 0, stiffness)], 1)

    def _with_first_step(self, state: AdaptiveState, dt: Tensor) -> AdaptiveState:
        """A hundredth of ``‖u‖ / ‖f‖`` in units of the tolerance, where no step is known."""
        unknown = state.step == 0
        if not bool(unknown.any()):
            return state
        values = state.values.detach()
        with torch.no_grad():
            slope = self.derivative(values, state.time)
        size = self._relative(values, values, values)
        speed = self._relative(slope, values, values)
        guess = torch.where((size < 1e-5) | (speed < 1e-5), 1e-6, 0.01 * size / speed)
        step = torch.where(unknown, torch.minimum(guess, dt.abs()) * torch.sign(dt), state.step)
        return replace(state, step=step, evaluations=state.evaluations + unknown)
