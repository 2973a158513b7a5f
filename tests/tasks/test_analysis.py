"""Analysis from files to files, and the plots of its steps."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.io import read, write
from pydantic import ValidationError

from simkit.analysis.diffusion import M2_PER_S
from simkit.csv_tables import read_table, write_table
from simkit.errors import DataError, InvalidSystemError, SimkitError, SimkitWarning
from simkit.progress import Silent
from simkit.tasks import reaction_path
from simkit.tasks.averages import average_log
from simkit.tasks.crystals import Opening, build_crystal
from simkit.tasks.dynamics import run_md
from simkit.tasks.elastic import elastic
from simkit.tasks.equation_of_state import equation_of_state
from simkit.tasks.reaction_path import neb
from simkit.tasks.structure_analysis import diffusion_files, rdf_files, spectrum_files
from simkit.workflow.step import Context
from simkit.workflow.steps.averages import Averages
from simkit.workflow.steps.crystals import Elastic
from simkit.workflow.steps.neb import NudgedElasticBand
from simkit.workflow.steps.trajectory_analysis import Diffusion, RadialDistribution, Spectrum


def run(step, folder, **inputs):
    folder.mkdir()
    summary = step.run(Context(folder, inputs, seed=3, device="cpu", progress=Silent()))
    for name in step.produces:
        assert (folder / name).stat().st_size > 0
    json.dumps(summary, allow_nan=False)
    assert all("doi:" in reference for reference in step.citations())
    return summary


@pytest.fixture
def walk(tmp_path):
    """Argon and neon that walk at random through a periodic box, with known D, and wrong velocities that oscillate."""
    rng = np.random.default_rng(0)
    spacing, exact = 10.0, {18: 1e-3, 10: 3e-3}  # fs, Å²/fs
    numbers = np.repeat([18, 10], [20, 10])
    widths = np.sqrt([2 * exact[number] * spacing for number in numbers])
    steps = rng.normal(size=(160, 30, 3)) * widths[:, None]
    steps -= np.average(steps, axis=1, weights=Atoms(numbers=numbers).get_masses())[:, None]
    positions = np.cumsum(steps, axis=0) + rng.random((30, 3)) * 12
    phases = rng.random((30, 3)) * 2 * np.pi
    frames = []
    for index, points in enumerate(positions):
        atoms = Atoms(numbers=numbers, positions=points, cell=[12] * 3, pbc=True)
        atoms.wrap()
        velocity = np.cos(2 * np.pi * 2e-3 * spacing * index + phases)  # 2 THz
        atoms.set_velocities(velocity * 1e-3 / units.fs)
        atoms.info["time_fs"] = spacing * index
        frames.append(atoms)
    write(tmp_path / "walk.xyz", frames)
    return tmp_path / "walk.xyz"


def test_radial_distribution(tmp_path):
    rng = np.random.default_rng(1)
    gas = [Atoms("Ne10Ar20", rng.random((30, 3)) * 12, cell=[12] * 3, pbc=True) for _ in range(60)]
    write(tmp_path / "gas.xyz", gas)
    step = RadialDistribution(trajectories=["t", "t"], every=2, bins=12)
    summary = run(step, tmp_path / "out", t=tmp_path / "gas.xyz")
    assert (summary["frames"], summary["r_max_ang"]) == (60, 6.0)
    table = read_table(tmp_path / "out" / "rdf.csv")
    assert table["g_Ne-Ar"][6:] == pytest.approx(1, abs=0.15)
    assert 0 < table["g_error_Ne-Ar"][6:].max() < 0.1
    no_plot = RadialDistribution(trajectories=["t"], every=10, plot=False)
    run(no_plot, tmp_path / "bare", t=tmp_path / "gas.xyz")
    assert not (tmp_path / "bare" / "rdf.svg").exists()


def test_diffusion(tmp_path, walk):
    step = Diffusion(trajectories=["t"], fit=(0.02, 0.2), viscosity=0.3, temperature=100)
    summary = run(step, tmp_path / "out", t=walk)
    for symbol, exact in (("Ar", 1e-3), ("Ne", 3e-3)):
        found = summary["elements"][symbol]
        # without the motion of the centre of mass a little less
        assert found["d_m2_per_s"] == pytest.approx(exact * M2_PER_S, abs=4 * found["d_error_m2_per_s"] + 5e-10)
        assert found["d_infinite_m2_per_s"] > found["d_m2_per_s"]
        assert found["exponent"] == pytest.approx(1, abs=0.1)
    assert read_table(tmp_path / "out" / "diffusion.csv")["time_fs"][1] == 10
    assert diffusion_files([walk], tmp_path, blocks=1, spacing=20.0)["elements"]["Ar"]["d_error_m2_per_s"] is None
    with pytest.raises(ValidationError, match="both viscosity and temperature"):
        Diffusion(trajectories=["t"], viscosity=0.3)
    with pytest.raises(ValidationError, match="increasing fractions"):
        Diffusion(trajectories=["t"], fit=(0.5, 0.2))
    with pytest.raises(DataError, match="needs both"):
        diffusion_files([walk], tmp_path, temperature=300)


def test_spectrum(tmp_path, walk):
    summary = run(Spectrum(trajectories=["t"], blocks=2, resolution=1.5), tmp_path / "out", t=walk)
    assert summary["peak_thz"] == pytest.approx(2, abs=0.13)
    assert summary["peak_per_cm"] == pytest.approx(66.7, abs=4)
    table = read_table(tmp_path / "out" / "spectrum.csv")
    np.testing.assert_allclose(
        table["density_Ar_per_thz"] + table["density_Ne_per_thz"], table["density_per_thz"], atol=1e-12
    )


def test_frames_that_are_left_out(tmp_path, walk):
    assert rdf_files([walk], tmp_path, skip=150, blocks=2)["frames"] == 10
    with pytest.raises(DataError, match=r"more than 160 frames, found 160: skip fewer"):
        rdf_files([walk], tmp_path, skip=160)
    frames = read(walk, ":20")
    for frame in frames:
        del frame.info["time_fs"]
        frame.cell[2, 2] = 13
    write(tmp_path / "timeless.xyz", frames)
    with pytest.raises(DataError, match="give the time between frames as spacing, in fs"):
        spectrum_files([tmp_path / "timeless.xyz"], tmp_path)
    options = {"viscosity": 1.0, "temperature": 300.0, "spacing": 1.0}
    with pytest.raises(DataError, match="that of a cubic box"):
        diffusion_files([tmp_path / "timeless.xyz"], tmp_path, **options)


def test_dynamics_then_analysis(tmp_path, argon_model, crystal):
    write(tmp_path / "crystal.xyz", crystal)
    options = {"temperature": 20.0, "timestep": 4.0, "steps": 120, "save_every": 4, "ensemble": "nve"}
    run_md(argon_model, tmp_path / "crystal.xyz", tmp_path / "md", **options)
    trajectory = tmp_path / "md" / "trajectory.h5"
    assert spectrum_files([trajectory], tmp_path, blocks=1, resolution=3.0)["peak_thz"] < 3
    found = rdf_files([trajectory], tmp_path, blocks=1, bins=26)["pairs"]["Ar-Ar"]
    assert found["peak_ang"] < 5.3 / 2
    summary = run(Averages(log="l"), tmp_path / "averages", l=tmp_path / "md" / "log.csv")
    assert set(summary["columns"]) >= {"potential_ev", "kinetic_ev", "total_ev", "temperature_k"}
    total = summary["columns"]["total_ev"]
    assert total["error"] < 1e-3
    logged = read_table(tmp_path / "md" / "log.csv")["total_ev"]
    assert total["mean"] == pytest.approx(logged[len(logged) // 5 :].mean(), abs=1e-9)


def test_averages_of_a_table(tmp_path):
    values = np.random.default_rng(1).normal(2.0, 1.0, size=4096)
    write_table(tmp_path / "log.csv", {"step": np.arange(4096), "pressure_gpa": values})
    found = average_log(tmp_path / "log.csv", tmp_path, skip_fraction=0.0)["columns"]["pressure_gpa"]
    assert found["mean"] == pytest.approx(2, abs=4 * found["error"])
    assert found["error"] == pytest.approx(1 / 64, rel=0.2)
    both = {"system": np.tile([0.0, 1.0], 2048), "pressure_gpa": values + np.tile([0.0, 10.0], 2048)}
    write_table(tmp_path / "both.csv", both)
    second = average_log(tmp_path / "both.csv", tmp_path, system=1)["columns"]
    assert (second["pressure_gpa"]["mean"], len(second)) == (pytest.approx(12, abs=0.1), 1)
    assert second["pressure_gpa"]["mean"] == pytest.approx(10 + values[1::2][409:].mean())
    with pytest.raises(DataError, match="one at a time: expected system to be one of 0, 1, found None"):
        average_log(tmp_path / "both.csv", tmp_path)
    with pytest.raises(DataError, match="expected the columns energy, found step, pressure_gpa"):
        average_log(tmp_path / "log.csv", tmp_path, columns=["energy"])
    (tmp_path / "frames.xyz").write_text('1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nAr 0 0 0\n')
    with pytest.raises(DataError, match=r"frames\.xyz: expected a CSV file of numbers below a line of names"):
        average_log(tmp_path / "frames.xyz", tmp_path)


def test_properties_of_a_crystal_of_the_wrong_size(tmp_path, argon_model):
    swollen = bulk("Ar", "fcc", a=5.6)
    write(tmp_path / "swollen.xyz", swollen)
    with pytest.raises(DataError, match="start from a relaxed crystal"):
        equation_of_state(argon_model, swollen, tmp_path, opening=Opening(relax=False))
    found = equation_of_state(argon_model, tmp_path / "swollen.xyz", tmp_path, equation="vinet", volume_range=0.02)
    assert found["v0_over_given_volume"] == pytest.approx(1, abs=1e-3)
    summary = run(
        Elastic(model="m", structure="s", relax=False), tmp_path / "out", m=argon_model, s=tmp_path / "swollen.xyz"
    )
    assert summary["stress_without_strain_gpa"][0] > 0.1  # tension
    relaxed = elastic(argon_model, swollen, tmp_path)
    assert abs(relaxed["stress_without_strain_gpa"][0]) < 1e-3
    c = np.array(relaxed["elastic_constants_gpa"])
    assert c[0, 1] == pytest.approx(c[3, 3], rel=0.01)
    assert relaxed["broken_symmetry_gpa"] < 1e-2
    assert relaxed["moduli"]["bulk_gpa"] == pytest.approx(found["bulk_modulus_gpa"], rel=0.02)


def test_crystals(tmp_path, argon_model):
    assert len(build_crystal("NaCl", "rocksalt", a=5.64, cubic=True, repeat=(2, 1, 1))) == 16
    assert build_crystal("Si").cell.lengths()[0] == pytest.approx(5.43 / 2**0.5)
    with pytest.raises(InvalidSystemError, match="as the name of a crystal, such as Cu or NaCl; found 'Xx'"):
        build_crystal("Xx", "fcc", a=3)
    with pytest.raises(InvalidSystemError, match="give structure and a, as in"):
        build_crystal("NaCl")
    slab = Atoms("Ar", cell=[4, 4, 4], pbc=[True, True, False])
    with pytest.raises(SimkitError, match="periodic along all three axes"):
        elastic(argon_model, slab, tmp_path)


@pytest.fixture
def vacancy(tmp_path):
    crystal = bulk("Ar", "fcc", a=5.25, cubic=True).repeat((2, 1, 1))
    hop = int(np.argmin(np.linalg.norm(crystal.positions - [0, 2.625, 2.625], axis=1)))
    last = crystal.copy()
    last.positions[hop] = crystal.positions[0]
    for name, atoms in (("first", crystal), ("last", last)):
        del atoms[0]
        write(tmp_path / f"{name}.xyz", atoms)
    return tmp_path / "first.xyz", tmp_path / "last.xyz"


def test_conditions_that_the_model_ignores_are_said_once(tmp_path, argon_model, vacancy):
    charged, radical = bulk("Ar", "fcc", a=5.25), [read(path) for path in vacancy]
    charged.info["charge"] = 1
    with pytest.warns(SimkitWarning, match="Ar has charge 1, which this lennard-jones potential ignores") as said:
        elastic(argon_model, charged, tmp_path, opening=Opening(relax=False), relax_atoms=False)
    assert len(said) == 1
    for path, atoms in zip(vacancy, radical, strict=True):
        atoms.info["spin"] = 2
        write(path, atoms)
    with pytest.warns(SimkitWarning, match="first.xyz has spin 2, which this lennard-jones potential ignores") as said:
        neb(argon_model, *vacancy, tmp_path, images=1, relax_ends=False, max_steps=1)
    assert len(said) == 1


def test_path_of_a_vacancy(tmp_path, argon_model, vacancy, stop_after, interrupted, monkeypatch):
    monkeypatch.setattr(reaction_path, "SAVE_EVERY", 5)
    step = NudgedElasticBand(model="m", initial="a", final="b", images=3, fmax=0.02)
    whole = run(step, tmp_path / "whole", m=argon_model, a=vacancy[0], b=vacancy[1])
    assert whole["status"] == "converged"
    assert whole["barrier_ev"] == pytest.approx(whole["reverse_barrier_ev"], abs=1e-3)
    assert len(read(tmp_path / "whole" / "path.xyz", ":")) == 5
    assert read_table(tmp_path / "whole" / "path.csv")["energy_ev"][0] == 0
    options = {"images": 3, "fmax": 0.02}
    with pytest.raises(interrupted):
        neb(argon_model, *vacancy, tmp_path / "cut", **options, progress=stop_after(12))
    resumed = neb(argon_model, *vacancy, tmp_path / "cut", **options)
    assert resumed["barrier_ev"] == pytest.approx(whole["barrier_ev"], abs=2e-3)
    assert not (tmp_path / "cut" / ".band-unfinished.xyz").exists()
    short = neb(argon_model, *vacancy, tmp_path / "short", **options, max_steps=2)
    assert short["status"] == "not converged"
    assert "raise max_steps" in short["remedy"]
