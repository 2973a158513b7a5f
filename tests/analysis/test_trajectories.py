"""Structure and motion of model systems whose functions are known: ideal gas, crystal, Brownian walk, oscillators."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.io import write

from simkit.analysis.diffusion import M2_PER_S, diffusion, finite_size_correction, mean_squared_displacement
from simkit.analysis.radial_distribution import radial_distribution
from simkit.analysis.spectrum import vibrational_spectrum
from simkit.analysis.trajectory import Trajectory, from_frames, heights, unwrapped
from simkit.datasets.files import open_dataset
from simkit.errors import DataError

TRICLINIC = np.array([[11.0, 0, 0], [4.0, 10.0, 0], [-3.0, 2.0, 9.0]])


def made(positions, cell=None, spacing=2.0, numbers=None, velocities=None):
    frames, atoms = positions.shape[:2]
    numbers = np.full(atoms, 18) if numbers is None else np.asarray(numbers)
    cells = np.broadcast_to(np.zeros((3, 3)) if cell is None else cell, (frames, 3, 3)).copy()
    pbc = np.full(3, cell is not None)
    return Trajectory(numbers, positions, cells, pbc, spacing, np.full(atoms, 39.9), velocities)


def wrapped(positions, cell):
    fractions = positions @ np.linalg.inv(cell)
    return (fractions - np.floor(fractions)) @ cell


def test_ideal_gas_of_two_elements_in_a_triclinic_cell():
    rng = np.random.default_rng(0)
    positions = rng.random((200, 40, 3)) @ TRICLINIC
    gas = made(positions, TRICLINIC, numbers=[10] * 10 + [18] * 30)
    found = radial_distribution([gas], bins=10, blocks=10)
    assert found.pairs == ((10, 10), (10, 18), (18, 18))
    edge = found.r[-1] + found.r[0]
    assert edge == pytest.approx(heights(gas.cells).min() / 2)
    deviation = (found.g - 1)[:, 3:] / found.error[:, 3:]
    assert np.abs(deviation).max() < 5
    assert np.sqrt(np.square(deviation).mean()) == pytest.approx(1, abs=0.5)
    assert found.g[2, 3:] == pytest.approx(1, abs=0.05)
    # neighbours in a sphere at their mean density
    expected = 30 / np.linalg.det(TRICLINIC) * 4 / 3 * np.pi * edge**3
    assert found.coordination[1, -1] == pytest.approx(expected, rel=0.03)


def test_shells_of_fcc():
    a = 4.0
    crystal = bulk("Ar", "fcc", a=a, cubic=True).repeat(3)
    still = made(np.repeat(crystal.positions[None], 2, 0), crystal.cell.array)
    found = radial_distribution([still], r_max=1.5 * a, bins=600, blocks=1)
    shells = found.r[found.g[0] > 0]
    width = found.r[1] - found.r[0]
    expected = a * np.sqrt([0.5, 1, 1.5, 2])
    np.testing.assert_allclose(shells[:4], expected, atol=width)
    filled = found.coordination[0][np.searchsorted(found.r, expected + width)]
    np.testing.assert_allclose(filled, np.cumsum([12, 6, 24, 12]))
    assert np.isnan(found.error).all()


def test_distances_beyond_half_the_height_are_refused():
    gas = made(np.zeros((1, 2, 3)), TRICLINIC)
    with pytest.raises(DataError, match=r"half of the smallest height of the cells, 4\.500 Å"):
        radial_distribution([gas], r_max=4.6, blocks=1)
    with pytest.raises(DataError, match="periodic along all three axes"):
        radial_distribution([made(np.zeros((1, 2, 3)))])


def test_unwrapping_finds_the_path_through_a_triclinic_cell():
    rng = np.random.default_rng(1)
    path = np.cumsum(rng.normal(scale=0.8, size=(300, 5, 3)), axis=0)
    found = unwrapped(made(wrapped(path, TRICLINIC), TRICLINIC))
    assert np.abs(path).max() > 15  # far beyond the cell
    np.testing.assert_allclose(found - found[0], path - path[0], atol=1e-10)


def test_unwrapping_refuses_steps_that_could_be_others():
    steps = np.zeros((2, 1, 3))
    steps[1, 0, 0] = 4.9
    with pytest.raises(DataError, match="save frames more often"):
        unwrapped(made(steps, np.eye(3) * 10))


def test_squared_displacement_is_the_direct_sum():
    positions = np.cumsum(np.random.default_rng(2).normal(size=(20, 3, 3)), axis=0) + 1000
    direct = [np.square(positions[k:] - positions[: 20 - k]).sum(2).mean(0) for k in range(20)]
    np.testing.assert_allclose(mean_squared_displacement(positions), direct, atol=1e-9)


def test_brownian_walk():
    spacing, exact = 2.0, 0.03  # fs, Å²/fs
    steps = np.random.default_rng(3).normal(scale=np.sqrt(2 * exact * spacing), size=(4000, 60, 3))
    path = np.cumsum(steps, axis=0)
    walk = made(wrapped(path, TRICLINIC), TRICLINIC, spacing)
    found = diffusion([walk], blocks=8, fit=(0.01, 0.1), remove_drift=False)
    assert abs(found.coefficient - exact) < 3 * found.error
    assert found.error < 0.03 * exact
    assert found.exponent == pytest.approx(1, abs=0.05)
    assert found.msd[1] == pytest.approx(6 * exact * spacing, rel=0.01)
    assert found.coefficient * M2_PER_S == pytest.approx(3e-7, rel=0.1)
    some = diffusion([walk, walk], np.arange(60) < 20, blocks=4, fit=(0.01, 0.1), remove_drift=False)
    assert abs(some.coefficient - exact) < 4 * some.error


def test_drift_is_not_diffusion():
    path = np.arange(100.0)[:, None, None] * np.ones((1, 4, 3))
    assert diffusion([made(path)], blocks=2).coefficient == pytest.approx(0, abs=1e-12)
    assert diffusion([made(path)], blocks=2, remove_drift=False).exponent == pytest.approx(2, abs=1e-6)


def test_finite_size_correction_of_water():
    by_hand = 2.837297 * 1.380649e-23 * 298 / (6 * np.pi * 0.7e-3 * 24.8e-10)
    assert finite_size_correction(298, 0.7, 24.8) * M2_PER_S == pytest.approx(by_hand)


def oscillators(frequencies, frames, spacing, rng):
    """Velocities of independent harmonic oscillators of given frequencies (THz), each with a phase and amplitude."""
    time = spacing * 1e-3 * np.arange(frames)
    phase = rng.random((len(frequencies), 3)) * 2 * np.pi
    amplitude = rng.rayleigh(size=(len(frequencies), 3))
    angle = 2 * np.pi * np.asarray(frequencies)[None, :, None] * time[:, None, None] + phase
    return amplitude * np.cos(angle)


def test_spectrum_of_harmonic_oscillators():
    frequencies = np.repeat([5.0, 20.0], [100, 300])
    velocities = oscillators(frequencies, 4000, 4.0, np.random.default_rng(4))
    numbers = np.repeat([8, 1], [100, 300])
    run = made(np.zeros_like(velocities), spacing=4.0, numbers=numbers, velocities=velocities)
    found = vibrational_spectrum([run], resolution=0.5, blocks=4, remove_drift=False)
    step = found.frequency[1]
    assert found.density.sum() * step == pytest.approx(1, abs=1e-3)
    peaks = {z: found.frequency[part.argmax()] for z, part in found.partial.items()}
    assert peaks == {8: pytest.approx(5, abs=step), 1: pytest.approx(20, abs=step)}
    above = found.frequency[found.partial[8] > found.partial[8].max() / 2]
    assert np.ptp(above) == pytest.approx(0.5, abs=2 * step)
    low = found.density[found.frequency < 12].sum() * step
    assert low == pytest.approx(0.25, abs=0.05)  # a quarter of the oscillators, equal energy on average
    np.testing.assert_allclose(sum(found.partial.values()), found.density, atol=1e-12)
    envelope = 0.25 * np.cos(2 * np.pi * 5e-3 * found.time) + 0.75 * np.cos(2 * np.pi * 20e-3 * found.time)
    np.testing.assert_allclose(found.correlation, envelope, atol=0.1)


def test_spectra_want_velocities_and_time():
    run = made(np.zeros((100, 2, 3)))
    with pytest.raises(DataError, match="holds no velocities"):
        vibrational_spectrum([run])
    moving = made(np.zeros((100, 2, 3)), velocities=np.ones((100, 2, 3)))
    with pytest.raises(DataError, match=r"more than 2000 fs, they have 38 fs"):
        vibrational_spectrum([moving])


def test_frames_of_a_file(tmp_path):
    frames = []
    for index in range(3):
        atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1 + index]], cell=TRICLINIC, pbc=True)
        atoms.set_velocities(np.array([[0, 0, 0], [0, 0, 0.5]]) / units.fs)
        atoms.info["time_fs"] = 4.0 * index
        frames.append(atoms)
    write(tmp_path / "run.xyz", frames)
    run = from_frames(list(open_dataset(tmp_path / "run.xyz")))
    assert (run.spacing, run.duration, run.n_frames) == (4.0, 8.0, 3)
    assert run.velocities[2, 1] == pytest.approx([0, 0, 0.5])
    np.testing.assert_allclose(run.cells[0], TRICLINIC)
    frames[2].info["time_fs"] = 9.0
    write(tmp_path / "run.xyz", frames)
    with pytest.raises(DataError, match="equally spaced"):
        from_frames(list(open_dataset(tmp_path / "run.xyz")))
    assert from_frames(list(open_dataset(tmp_path / "run.xyz")), spacing=1.0).spacing == 1.0
