"""Finite volumes: orders, shocks, rarefactions, conservation, exact solutions, ghost cells."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.flows import integrate
from simkit.solvers.finite_volume import (
    Advection,
    CellGrid,
    CourantSteps,
    Dirichlet,
    Ends,
    FiniteVolumes,
    FluxFunction,
    ForcedBurgersKdV,
    IntegratingFactor,
    Neumann,
    Outflow,
    Periodic,
    Quadratic,
    ShallowWater,
    TravellingWaves,
    Wall,
    explicit_steps,
    godunov,
    integrating_factor,
    local_lax_friedrichs,
)
from simkit.solvers.finite_volume.boundaries import End
from simkit.solvers.finite_volume.reconstruction import around_faces, face_curvatures, face_slopes, weno5
from simkit.solvers.ode import SSPRK3, OdeState, RungeKutta
from simkit.solvers.spectral import IFRK4, FourierGrid, SpectralState

FLUXES = pytest.mark.parametrize("numerical_flux", [godunov, local_lax_friedrichs])
STEPS = pytest.mark.parametrize("steps", [explicit_steps, integrating_factor])
TURN = 2 * math.pi
BURGERS = Quadratic(0.5)


def solved(flow: Callable, values: Tensor, end: float, steps: int = 1) -> Tensor:
    """Averages at the end."""
    result = integrate(flow, OdeState.of(values), end / steps, steps)
    assert result.finished
    assert torch.allclose(result.state.time, torch.full((len(values),), end))
    return result.state.values


def order(errors: list[float]) -> float:
    """From errors on cells that are halved."""
    return math.log2(errors[-2] / errors[-1])


def sine(grid: CellGrid) -> Tensor:
    return grid.averages(lambda x: torch.sin(TURN * x / grid.length))[None, None]


# ---- values at faces


def test_stencils_are_exact_for_polynomials() -> None:
    """Slopes up to degree six, curvatures up to degree five; values of WENO's parabolas up to degree two."""
    grid = CellGrid(-1.0, 1.3, 12)
    faces = grid.faces[3:-3]
    for degree in range(7):
        cells = around_faces(grid.averages(lambda x, n=degree: x**n)[None, None])
        if degree <= 2:
            for side in weno5(cells):
                assert torch.allclose(side[0, 0], faces**degree, atol=1e-13)
        assert torch.allclose(face_slopes(cells, grid.width)[0, 0], degree * faces ** max(degree - 1, 0), atol=1e-12)
        if degree <= 5:
            exact = degree * (degree - 1) * faces ** max(degree - 2, 0)
            assert torch.allclose(face_curvatures(cells, grid.width)[0, 0], exact, atol=1e-10)


def test_weights_leave_out_a_discontinuity() -> None:
    """A face two cells away from a jump sees the smooth side only."""
    values = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])[None, None]
    left, right = weno5(around_faces(values))
    assert torch.allclose(left[0, 0], torch.tensor([0.0, 0.0, 1.0]), atol=1e-10)
    assert torch.allclose(right[0, 0], torch.tensor([0.0, 1.0, 1.0]), atol=1e-10)


@FLUXES
def test_fifth_order_for_smooth_advection(numerical_flux: Callable) -> None:
    """With ``dt ~ h^(5/3)``, so that the third order of time is as small."""
    errors = []
    for cells in (40, 80):
        grid = CellGrid(-1.0, 1.0, cells)
        equation = FiniteVolumes(Advection(1.0), grid, Periodic(), numerical_flux)
        steps = math.ceil(1.6 * cells ** (5 / 3) / 20 ** (2 / 3))
        exact = grid.averages(lambda x: torch.sin(math.pi * (x - 0.4)))
        found = solved(RungeKutta(equation, SSPRK3), sine(grid), 0.4, steps)[0, 0]
        errors.append(float((found - exact).abs().max()))
    assert errors[-1] < 2e-6
    assert 4.8 < order(errors) < 5.3


def test_a_batch_has_a_velocity_for_each() -> None:
    grid = CellGrid(0.0, 1.0, 50)
    velocities = torch.tensor([1.0, -1.0, 0.3])
    flow = explicit_steps(FiniteVolumes(Advection(velocities), grid, Periodic(), godunov))
    found = solved(flow, sine(grid).expand(3, 1, -1), 0.7)
    for system, c in enumerate(velocities.tolist()):
        exact = grid.averages(lambda x, c=c: torch.sin(TURN * (x - 0.7 * c)))
        assert float((found[system, 0] - exact).abs().max()) < 2e-4


# ---- shocks


def riemann(left: float, right: float, cells: int = 100) -> tuple[CellGrid, Tensor]:
    """A jump at 0 in [-1, 1]."""
    grid = CellGrid(-1.0, 1.0, cells)
    return grid, torch.where(grid.centres < 0, left, right)[None, None]


OPEN = Ends(Outflow(), Outflow())


@FLUXES
@pytest.mark.parametrize(("left", "right"), [(1.0, 0.0), (0.5, -0.2), (1.0, -1.0), (-0.1, -1.0)])
def test_speed_of_a_shock(numerical_flux: Callable, left: float, right: float) -> None:
    """``(f(u_l) - f(u_r)) / (u_l - u_r)`` of Rankine and Hugoniot, by the amount behind it, and no new extrema."""
    grid, first = riemann(left, right)
    found = solved(explicit_steps(FiniteVolumes(BURGERS, grid, OPEN, numerical_flux)), first, 0.8)[0, 0]
    shock = 0.8 * (left + right) / 2
    assert (float(found.sum()) * grid.width - left - right) / (left - right) == pytest.approx(shock, abs=1e-6)
    assert float(found.max()) < left + 1e-3
    assert float(found.min()) > right - 1e-3
    away = (grid.centres - shock).abs() > 3 * grid.width
    assert torch.allclose(found[away], torch.where(grid.centres < shock, left, right)[away], atol=1e-3)


@FLUXES
def test_rarefaction_obeys_the_entropy_condition(numerical_flux: Callable) -> None:
    """A jump upwards through the sonic point opens to a fan ``x / t``, of first order for its kinks."""
    errors = []
    for cells in (100, 200):
        grid, first = riemann(-0.8, 1.0, cells)
        found = solved(explicit_steps(FiniteVolumes(BURGERS, grid, OPEN, numerical_flux)), first, 0.6)[0, 0]
        errors.append(float((found - (grid.centres / 0.6).clamp(-0.8, 1.0)).abs().mean()))
    assert errors[-1] < 3e-3
    assert order(errors) > 0.9


def test_a_concave_law_is_the_mirror_image() -> None:
    """``-u`` obeys the law with -a; both signs go in one batch."""
    grid, first = riemann(1.0, -0.5)
    law = Quadratic(torch.tensor([0.5, -0.5]))
    found = solved(explicit_steps(FiniteVolumes(law, grid, OPEN, godunov)), torch.cat([first, -first]), 0.5)
    assert torch.allclose(found[0], -found[1], atol=1e-14)


def test_godunov_is_the_extremal_flux_between_two_states() -> None:
    """The minimum of f over ``[u_l, u_r]``, or the maximum over ``[u_r, u_l]``."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.rand(2, 2, 1, 50, generator=generator) * 4 - 2
    law = Quadratic(torch.tensor([0.7, -0.7]))
    between = left + (right - left) * torch.linspace(0, 1, 2001)[:, None, None, None]
    fluxes = torch.tensor([0.7, -0.7]).view(2, 1, 1) * between**2
    exact = torch.where(left <= right, fluxes.amin(0), fluxes.amax(0))
    assert torch.allclose(godunov(law, left, right), exact, atol=3e-6)


def test_a_flux_that_is_neither_convex_nor_concave() -> None:
    """Buckley and Leverett's: a shock from the tangent ``f' = f/u`` behind a fan."""

    def flux(u: Tensor) -> Tensor:
        return u**2 / (u**2 + 0.25 * (1 - u) ** 2)

    def slope(u: Tensor) -> Tensor:
        return 0.5 * u * (1 - u) / (u**2 + 0.25 * (1 - u) ** 2) ** 2

    front = 1 / math.sqrt(5)  # u*² (1 + m) = m with m = 1/4
    grid, first = riemann(1.0, 0.0, 200)
    law = FluxFunction(flux, slope)
    found = solved(explicit_steps(FiniteVolumes(law, grid, OPEN, local_lax_friedrichs)), first, 0.3)[0, 0]
    speed = float(slope(torch.tensor(front)))
    assert speed == pytest.approx(float(flux(torch.tensor(front))) / front)
    assert float(found[grid.centres > 0.3 * speed + 4 * grid.width].abs().max()) < 1e-3
    assert float(found[grid.centres < 0.3 * speed - 4 * grid.width].min()) > front - 5e-3
    fan = (grid.centres > 0.1) & (grid.centres < 0.3 * speed - 4 * grid.width)
    assert torch.allclose(slope(found[fan]), grid.centres[fan] / 0.3, rtol=2e-2)


# ---- diffusion, dispersion, conservation


def cole_hopf(grid: CellGrid, viscosity: float, time: float) -> Tensor:
    """Averages of ``-2 ν φ_x / φ`` with ``φ = 1 + e^{-ν t} cos(x) / 2``: differences of log φ at faces."""
    potential = torch.log(1 + 0.5 * math.exp(-viscosity * time) * torch.cos(grid.faces))
    return -2 * viscosity * potential.diff()[None, None] / grid.width


@STEPS
def test_burgers_beside_cole_and_hopf(steps: Callable) -> None:
    """Fifth order where diffusion limits the step, third where convection does."""
    errors = []
    for cells in (32, 64):
        grid = CellGrid(0.0, TURN, cells)
        equation = FiniteVolumes(BURGERS, grid, Periodic(), godunov, diffusion=0.1)
        found = solved(steps(equation), cole_hopf(grid, 0.1, 0.0), 1.5)
        errors.append(float((found - cole_hopf(grid, 0.1, 1.5)).abs().max()))
    assert errors[-1] < 3e-6
    assert order(errors) > (5.0 if steps is explicit_steps else 2.9)


def test_linear_terms_are_exact_in_one_step() -> None:
    """A wave that decays and disperses, of each system's own b and g, however long the step."""
    grid, b, g = CellGrid(0.0, TURN, 16), torch.tensor([0.0, 0.4]), torch.tensor([1.0, -0.3])
    equation = FiniteVolumes(Advection(0.0), grid, Periodic(), godunov, b, g)
    found = IntegratingFactor(equation)(OdeState.of(sine(grid).expand(2, 1, -1)), torch.tensor([3.0, 3.0])).values
    for system, (decay, drift) in enumerate(zip(b.tolist(), g.tolist(), strict=True)):
        exact = math.exp(-3 * decay) * grid.averages(lambda x, v=drift: torch.sin(x + 3 * v))
        assert torch.allclose(found[system, 0], exact, atol=1e-13)


def test_both_treatments_of_linear_terms_agree() -> None:
    """The more so the more cells and the shorter steps: curvatures at faces are of fourth order, time of third."""
    errors = []
    for cells in (24, 48):
        grid = CellGrid(0.0, TURN, cells)
        equation = FiniteVolumes(BURGERS, grid, Periodic(), godunov, diffusion=0.2, dispersion=0.005)
        explicit, exact = (solved(f(equation, 0.2), sine(grid), 1.0) for f in (explicit_steps, integrating_factor))
        errors.append(float((explicit - exact).abs().max()))
    assert errors[-1] < 2e-4
    assert order(errors) > 3.0


def test_third_order_in_time_of_the_integrating_factor() -> None:
    grid = CellGrid(0.0, TURN, 32)
    flow = IntegratingFactor(FiniteVolumes(BURGERS, grid, Periodic(), godunov, diffusion=0.1, dispersion=0.005))
    exact = solved(flow, sine(grid), 0.5, 160)
    errors = [float((solved(flow, sine(grid), 0.5, n) - exact).abs().max()) for n in (10, 20)]
    assert 2.7 < order(errors) < 3.4


@FLUXES
@STEPS
def test_conservation(numerical_flux: Callable, steps: Callable) -> None:
    """Through shocks, with diffusion and dispersion, to rounding."""
    grid = CellGrid(0.0, 1.0, 40)
    first = torch.rand(3, 1, 40, generator=torch.Generator().manual_seed(0)) - 0.3
    equation = FiniteVolumes(BURGERS, grid, Periodic(), numerical_flux, diffusion=0.01, dispersion=1e-6)
    found = solved(steps(equation), first, 0.5)
    assert float((found.mean(-1) - first.mean(-1)).abs().max()) < 1e-15
    assert float((found - first).abs().max()) > 0.1


# ---- ends


@pytest.mark.parametrize("end", [Dirichlet(0.0), Neumann(0.0)])
def test_heat_between_fixed_and_insulated_ends(end: End) -> None:
    """Sines and cosines decay as they should, with the high order of the interior."""
    grid = CellGrid(0.0, 1.0, 20)
    shape = torch.sin if isinstance(end, Dirichlet) else torch.cos
    first = grid.averages(lambda x: shape(math.pi * x))[None, None]
    equation = FiniteVolumes(Advection(0.0), grid, Ends(end, end), godunov, diffusion=0.5)
    found = solved(explicit_steps(equation), first, 0.1)
    assert torch.allclose(found, math.exp(-0.05 * math.pi**2) * first, atol=2e-6)


def test_steady_heat_with_a_value_and_a_slope() -> None:
    """A straight line stands still; the outward normal of the right end points to the right."""
    grid = CellGrid(0.0, 2.0, 10)
    line = (3 + 0.5 * grid.centres)[None, None]
    equation = FiniteVolumes(Advection(0.0), grid, Ends(Dirichlet(3.0), Neumann(0.5)), godunov, diffusion=1.0)
    assert torch.allclose(equation(line, torch.zeros(1)), torch.zeros(1), atol=1e-11)
    mirrored = FiniteVolumes(Advection(0.0), grid, Ends(Neumann(0.5), Dirichlet(3.0)), godunov, diffusion=1.0)
    assert torch.allclose(mirrored(line.flip(-1), torch.zeros(1)), torch.zeros(1), atol=1e-11)


def test_inflow_that_depends_on_time() -> None:
    """What enters at the left is carried through in second order, and leaves at the right in first."""
    inside, last = [], []
    for cells in (25, 100):
        grid = CellGrid(0.0, 1.0, cells)
        inflow = Dirichlet(lambda time: torch.sin(4 * time))
        equation = FiniteVolumes(Advection(1.0), grid, Ends(inflow, Outflow()), godunov)
        found = solved(explicit_steps(equation), torch.zeros(1, 1, cells), 2.0)[0, 0]
        error = (found - grid.averages(lambda x: torch.sin(4 * (2 - x)))).abs()
        inside.append(float(error[: cells // 2].max()))
        last.append(float(error.max()))
    assert inside[-1] < 2e-4
    assert order(inside) / 2 > 1.8
    assert order(last) / 2 > 0.9


# ---- sources and the family


def test_forcing_is_drawn_in_its_ranges_and_averaged_exactly() -> None:
    waves = TravellingWaves.drawn(200, torch.Generator().manual_seed(3))
    again = TravellingWaves.drawn(200, torch.Generator().manual_seed(3))
    assert torch.equal(waves.phases, again.phases)
    assert set(waves.wavenumbers.flatten().tolist()) == {1.0, 2.0, 3.0}
    for values, low, high in ((waves.amplitudes, -0.5, 0.5), (waves.frequencies, -0.4, 0.4), (waves.phases, 0, TURN)):
        assert low <= float(values.min()) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < float(values.max()) < high
    grid, time = CellGrid(0.0, 16.0, 20), torch.linspace(0, 4, 200)
    exact = grid.averages(lambda x: waves.at(x.flatten(), time).view(200, 20, -1))
    assert torch.allclose(waves.averages(grid)(time)[:, 0], exact, atol=1e-12)
    x = torch.tensor([1.7])
    angle = waves.frequencies * time[:, None] + TURN * waves.wavenumbers * x / 16 + waves.phases
    assert torch.allclose(waves.at(x, time)[:, 0, 0], (waves.amplitudes * torch.sin(angle)).sum(1), atol=1e-13)


def test_family_beside_fourier_methods() -> None:
    """Smooth solutions with diffusion and dispersion of each system: finite volumes beside IF-RK4 on many modes."""
    family = ForcedBurgersKdV(
        torch.tensor([0.5, 1.5]), torch.tensor([0.2, 0.4]), torch.tensor([0.0, 0.7]), ForcedBurgersKdV.e1(2, 5).forcing
    )
    points = FourierGrid((16.0,), (256,))
    first = family.forcing.at(points.coordinates[0], torch.zeros(2))
    spectral = integrate(IFRK4(family.spectral(), points), SpectralState.of(points, first), 0.02, 100).state
    modes = spectral.modes / 256
    errors = []
    for cells in (64, 128):
        grid = family.grid(cells)
        k = points.wavenumbers[0]
        # averages over cells of the trigonometric polynomial
        averaged = modes * torch.sinc(k * grid.width / TURN) * torch.where(k == 0, 1, 2)
        exact = (averaged @ torch.exp(1j * k[:, None] * grid.centres)).real
        found = solved(family.flow(grid), family.start(grid).values, 2.0)
        errors.append(float((found - exact).abs().max()))
    assert errors[-1] < 2e-3
    assert order(errors) > 3.5


def test_family_draws_parameters_for_each_system() -> None:
    one, two, three = (draw(64, 1) for draw in (ForcedBurgersKdV.e1, ForcedBurgersKdV.e2, ForcedBurgersKdV.e3))
    assert set(one.a.tolist()) == set(two.a.tolist()) == {0.5}
    assert not bool(one.b.any() | one.g.any() | two.g.any())
    for values, high in ((two.b, 0.2), (three.a, 3.0), (three.b, 0.4), (three.g, 1.0)):
        assert 0 <= float(values.min()) < 0.1 * high < 0.9 * high < float(values.max()) < high
    grid = one.grid(40)
    assert torch.equal(one.start(grid).values, one.forcing.averages(grid)(torch.zeros(64)))


# ---- steps and gradients


@STEPS
def test_each_system_is_on_its_own_and_a_step_of_zero_changes_nothing(steps: Callable) -> None:
    """Fast systems take more steps than slow ones; those with ``dt = 0`` take none."""
    grid = CellGrid(0.0, 1.0, 20)
    first = torch.cat([sine(grid), 5 * sine(grid), sine(grid)])
    law, diffusion = Quadratic(torch.tensor([0.5, 0.5, 1.0])), torch.tensor([0.02, 0.05, 0.03])
    dt = torch.tensor([0.1, 0.1, 0.0])
    after = steps(FiniteVolumes(law, grid, Periodic(), godunov, diffusion))(OdeState.of(first), dt)
    assert torch.equal(after.values[2], first[2])
    assert torch.equal(after.time, dt)
    alone = steps(FiniteVolumes(BURGERS, grid, Periodic(), godunov, 0.02))(OdeState.of(first[:1]), dt[:1])
    assert torch.allclose(after.values[0], alone.values[0], atol=1e-14)
    slow = steps(FiniteVolumes(BURGERS, grid, Periodic(), godunov, 0.05))(OdeState.of(first[1:2]), dt[:1])
    assert torch.allclose(after.values[1], slow.values[0], atol=1e-14)


def test_largest_step() -> None:
    """The estimate is stable, and twice it is not, for each term alone."""
    grid = CellGrid(0.0, 1.0, 20)
    noise = torch.randn(1, 1, 20, generator=torch.Generator().manual_seed(0))
    for diffusion, dispersion in ((1.0, 0.0), (0.0, 1.0)):
        equation = FiniteVolumes(Advection(0.0), grid, Periodic(), godunov, diffusion, dispersion)
        dt = float(equation.largest_step(noise, 0.5))
        flow = RungeKutta(equation, SSPRK3)
        assert float(solved(flow, noise, 200 * dt, 200).abs().max()) < 3
        state = OdeState.of(noise)
        for _ in range(200):
            state = flow(state, torch.tensor([2 * dt]))
        assert not bool((state.values.abs() < 1e6).all())
    still = FiniteVolumes(Advection(0.0), grid, Periodic(), godunov)
    assert math.isinf(float(still.largest_step(noise, 0.5)))
    assert torch.equal(solved(explicit_steps(still), noise, 7.0), noise)


@STEPS
def test_gradients(steps: Callable) -> None:
    """By the first averages and the parameters, beside finite differences, on eight cells."""
    grid = CellGrid(0.0, 1.0, 8)

    def end(values: Tensor, a: Tensor, b: Tensor) -> Tensor:
        equation = FiniteVolumes(Quadratic(a), grid, Periodic(), godunov, b, 1e-4)
        flow = steps(equation).flow
        return flow(flow(OdeState.of(values), torch.tensor([0.01])), torch.tensor([0.02])).values

    first = (torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(1)) + 0.1).requires_grad_()
    a, b = torch.tensor([0.5], requires_grad=True), torch.tensor([0.02], requires_grad=True)
    assert torch.autograd.gradcheck(end, (first, a, b))


# ---- shallow water


def test_breaking_dam() -> None:
    """Stoker's solution: a fan, a plateau and a bore; water is neither made nor lost."""
    grid, depth = riemann(1.0, 0.5, 200)
    first = torch.cat([depth, torch.zeros_like(depth)], 1)
    equation = FiniteVolumes(ShallowWater(1.0), grid, Ends(Wall(), Wall()), local_lax_friedrichs)
    found = solved(explicit_steps(equation), first, 0.5)[0]
    assert float((found[0].sum() - depth.sum()).abs()) * grid.width < 1e-13

    def mismatch(h: float) -> float:
        """Of the velocities of fan and bore at a depth between."""
        return 2 * (1 - math.sqrt(h)) - (h - 0.5) * math.sqrt((h + 0.5) / (2 * h * 0.5))

    low, high = 0.5, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mismatch(middle) > 0 else (low, middle)
    velocity = 2 * (1 - math.sqrt(low))
    bore, tail = low * velocity / (low - 0.5), velocity - math.sqrt(low)
    x = grid.centres / 0.5
    fan = (2 - x).square() / 9
    exact = torch.where(x < -1, 1.0, torch.where(x < tail, fan, torch.where(x < bore, low, 0.5)))
    assert float((found[0] - exact).abs().mean()) < 2e-3
    plateau = (x > tail + 0.1) & (x < bore - 0.1)
    assert torch.allclose(found[:, plateau], torch.tensor([[low], [low * velocity]]), atol=2e-3)


def test_water_at_rest_and_between_walls() -> None:
    """A flat surface stays flat; a wave of small height comes back after two lengths at the speed ``√(g h)``."""
    grid = CellGrid(0.0, 1.0, 50)
    equation = FiniteVolumes(ShallowWater(4.0), grid, Ends(Wall(), Wall()), local_lax_friedrichs)
    rest = torch.stack([torch.full((50,), 0.25), torch.zeros(50)])[None]
    assert torch.equal(equation(rest, torch.zeros(1)), torch.zeros(1, 2, 50))
    bump = 1e-5 * grid.averages(lambda x: torch.exp(-(((x - 0.5) / 0.15) ** 2)))
    first = rest + torch.stack([bump, torch.zeros(50)])[None]
    found = solved(explicit_steps(equation), first, 2.0)
    assert torch.allclose(found[0, 0] - 0.25, bump, atol=2e-7)


# ---- mistakes


def test_bad_input() -> None:
    grid = CellGrid(0.0, 1.0, 8)
    equation = FiniteVolumes(BURGERS, grid, Periodic(), godunov)
    values, time = torch.zeros(2, 1, 8), torch.zeros(2)
    with pytest.raises(SimkitError, match="at least 6 cells"):
        CellGrid(0.0, 1.0, 5)
    with pytest.raises(SimkitError, match="start < end"):
        CellGrid(1.0, 0.0, 8)
    with pytest.raises(SimkitError, match="that divides 8, found 3"):
        grid.coarsened(values, 3)
    with pytest.raises(SimkitError, match=r"shape \(systems, 1, 8\) for Quadratic, found \(2, 2, 8\)"):
        equation(torch.zeros(2, 2, 8), time)
    with pytest.raises(SimkitError, match=r"one for each of 2 systems; found the shape \(3,\)"):
        FiniteVolumes(Quadratic(torch.ones(3)), grid, Periodic(), godunov)(values, time)
    with pytest.raises(SimkitError, match="a diffusion that is not negative"):
        FiniteVolumes(BURGERS, grid, Periodic(), godunov, diffusion=-0.1)
    with pytest.raises(SimkitError, match="Godunov's flux needs Advection or Quadratic, found ShallowWater"):
        FiniteVolumes(ShallowWater(9.81), grid, Periodic(), godunov)(torch.ones(1, 2, 8), time[:1])
    with pytest.raises(SimkitError, match=r"needs a periodic boundary, found Ends; use explicit_steps"):
        integrating_factor(FiniteVolumes(BURGERS, grid, OPEN, godunov))
    with pytest.raises(SimkitError, match="even numbers of at least four points"):
        integrating_factor(FiniteVolumes(BURGERS, CellGrid(0.0, 1.0, 9), Periodic(), godunov))
    with pytest.raises(SimkitError, match="a Wall needs a law with momentum"):
        FiniteVolumes(BURGERS, grid, Ends(Wall(), Wall()), godunov)(values, time)
    with pytest.raises(SimkitError, match="a depth of 0"):
        ShallowWater(1.0).flux(torch.zeros(1, 2, 8))
    with pytest.raises(SimkitError, match="a grid of the forcing's length 16, found 1"):
        ForcedBurgersKdV.e1(1, 0).forcing.averages(grid)
    with pytest.raises(SimkitError, match="at least one system, wave and wavenumber"):
        TravellingWaves.drawn(0, torch.Generator())
    with pytest.raises(SimkitError, match="a positive Courant number"):
        explicit_steps(equation, 0.0)
    with pytest.raises(SimkitError, match="do not run backwards"):
        explicit_steps(equation)(OdeState.of(values), torch.tensor([0.1, -0.1]))
    stiff = FiniteVolumes(BURGERS, grid, Periodic(), godunov, diffusion=1e6)
    flow = CourantSteps(RungeKutta(stiff, SSPRK3), stiff, 0.5, most=10)
    with pytest.raises(SimkitError, match="10 steps did not reach the end"):
        flow(OdeState.of(values), torch.tensor([1.0, 1.0]))


def test_numbers_that_are_not_finite_stop_their_system_alone() -> None:
    grid = CellGrid(0.0, 1.0, 8)
    first = torch.cat([sine(grid), sine(grid)])
    source = torch.zeros(2, 1, 8)
    source[1] = torch.inf
    flow = explicit_steps(FiniteVolumes(BURGERS, grid, Periodic(), godunov, source=lambda time: source))
    result = integrate(flow, OdeState.of(first), 0.1, 3)
    assert [outcome.status.stopped for outcome in result.outcomes] == [False, True]
