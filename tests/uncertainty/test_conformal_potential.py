"""Conformal intervals around potentials: their coverage on new frames, and what they are made of."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from simkit.errors import SimkitError, SimkitWarning
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.system import System
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.calibration_maps import GlobalMap
from simkit.uncertainty.comparison import Comparison
from simkit.uncertainty.conformal import conformal_quantile
from simkit.uncertainty.conformal_potential import Conformal
from simkit.uncertainty.conformal_scores import frame_scores
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.residuals import CalibrationError
from tests.conformance.battery import Battery
from tests.uncertainty.scoring import Scoring

OUTPUTS = ("energy", "forces", "stress")


def argon(k: float) -> LennardJones:
    return LennardJones(epsilon=0.0104 * (1 + 0.1 * k), sigma=3.4 - 0.02 * k, cutoff=5.0, elements=(18, 36))


TRUTH = argon(0.3)


def ensemble() -> Ensemble:
    return Ensemble(argon(0), argon(1), argon(2))


def crystals(count: int, seed: int) -> System:
    """Rattled crystals of argon, with an atom of krypton in place of one of its four."""
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = bulk("Ar", "fcc", a=5.3 + 0.1 * random.standard_normal(), cubic=True)
        atoms.numbers[0] = 36
        atoms.positions += 0.12 * random.standard_normal((4, 3))
        frames.append(atoms)
    return System.from_ase(frames)


def compared(potential: Potential, system: System, groups: list[str] | None = None) -> Comparison:
    reference = evaluate(TRUTH, system, outputs=OUTPUTS)
    found = Conformal(potential, {"energy": np.ones(1)}, relative=False).predict(system, outputs=OUTPUTS)

    def pair(name: str) -> np.ndarray:
        return torch.stack([getattr(reference, name), getattr(found, name)], -1).numpy()

    def array(values: torch.Tensor | None) -> np.ndarray | None:
        return None if values is None else values.numpy()

    return Comparison(
        system.counts.numpy(), pair("energy"), pair("forces"), pair("stress"), groups or (),
        energy_std=array(found.energy_std), forces_cov=array(found.forces_cov),
        stress_std=array(found.stress_std), score=array(found.score),
    )  # fmt: skip


def coverage(conformal: Conformal, system: System, level: float) -> dict[str, float]:
    """Share of systems whose energy, forces on all atoms, and stress are within their intervals."""
    reference, found = evaluate(TRUTH, system, outputs=OUTPUTS), conformal.predict(system, outputs=OUTPUTS)
    interval = found.interval(level)
    assert found.forces is not None
    assert found.stress is not None
    errors = {
        "energy": ((found.energy - reference.energy).abs(), interval.energy),
        "forces": ((found.forces - reference.forces).norm(dim=1), interval.forces_radius),
        "stress": ((found.stress - reference.stress).flatten(1).norm(dim=1), interval.stress_radius),
    }
    shares = {}
    for name, (error, radius) in errors.items():
        if radius is not None:
            shares[name] = float((error <= radius).reshape(system.n_systems, -1).all(1).double().mean())
    return shares


@pytest.mark.parametrize("potential", [ensemble(), Scoring(argon(1)), argon(1)], ids=lambda one: one.kind)
def test_new_frames_are_covered(potential: Potential) -> None:
    conformal = Conformal.fit(potential, compared(potential, crystals(150, 1)))
    shares = coverage(conformal, crystals(300, 2), 0.9)
    expected = {"forces"} if potential.kind == "scoring" else {"energy", "forces", "stress"}
    assert set(shares) == expected
    for share in shares.values():
        assert share == pytest.approx(0.9, abs=0.07)
    for share in coverage(conformal, crystals(300, 3), 0.6).values():
        assert share == pytest.approx(0.6, abs=0.12)


def test_radii_are_quantiles_of_the_scores() -> None:
    data = compared(ensemble(), crystals(60, 1))
    conformal = Conformal.fit(ensemble(), data)
    assert data.forces_cov is not None
    assert data.energy_std is not None
    sigma = np.sqrt(np.trace(data.forces_cov, axis1=1, axis2=2) / 3)
    norms = np.linalg.norm(data.forces[..., 1] - data.forces[..., 0], axis=1)
    expected = conformal_quantile((norms / sigma).reshape(60, 4).max(1), 0.8)
    assert conformal.quantile("forces", 0.8) == pytest.approx(expected, rel=1e-12)
    energies = np.abs(data.energy[:, 1] - data.energy[:, 0]) / data.energy_std
    assert conformal.quantile("energy", 0.8) == pytest.approx(conformal_quantile(energies, 0.8), rel=1e-12)
    found = conformal.predict(crystals(2, 9), outputs=OUTPUTS)
    interval = found.interval(0.8)
    assert found.force_sigma is not None
    torch.testing.assert_close(interval.forces_radius, expected * found.force_sigma)
    assert interval.forces is None
    with pytest.raises(SimkitError, match="among energy, forces, stress"):
        conformal.quantile("virial", 0.8)


def test_stress_scores_are_frobenius_norms() -> None:
    data = compared(argon(1), crystals(30, 4))
    scores = frame_scores(data, relative=False)
    norms = np.linalg.norm((data.stress[..., 1] - data.stress[..., 0]).reshape(30, 9), axis=1)
    np.testing.assert_allclose(scores["stress"], norms, rtol=1e-12)
    np.testing.assert_allclose(scores["energy"], np.abs(data.energy[:, 1] - data.energy[:, 0]) / 4, rtol=1e-12)


def test_elements_have_quantiles_of_their_own() -> None:
    system = crystals(80, 5)
    data = compared(ensemble(), system)
    data.forces[::4, :, 0] += 3 * (data.forces[::4, :, 1] - data.forces[::4, :, 0])  # krypton is worse
    conformal = Conformal.fit(ensemble(), data, numbers=system.numbers.numpy())
    assert conformal.quantile("forces-36", 0.9) > conformal.quantile("forces-18", 0.9)
    found = conformal.predict(system)
    radius = found.interval(0.9).forces_radius
    assert radius is not None
    assert found.force_sigma is not None
    torch.testing.assert_close(radius[0], conformal.quantile("forces-36", 0.9) * found.force_sigma[0])
    torch.testing.assert_close(radius[1], conformal.quantile("forces-18", 0.9) * found.force_sigma[1])
    few = frame_scores(compared(ensemble(), crystals(40, 5)), numbers=np.array([36, 18, 18, 18] * 40))
    assert "forces-18" not in few


def test_trajectories_as_the_unit() -> None:
    names = [f"run {index // 6}" for index in range(60)]
    data = compared(ensemble(), crystals(60, 6), names)
    frames, runs = frame_scores(data), frame_scores(data, unit="trajectory")
    assert len(frames["forces"]) == 60
    assert len(runs["forces"]) == 10
    for index, score in enumerate(runs["energy"]):
        assert score in frames["energy"][6 * index : 6 * index + 6]


def test_frames_of_few_trajectories_are_warned_of() -> None:
    data = compared(ensemble(), crystals(12, 6), ["a", "b", "c"] * 4)
    with pytest.warns(SimkitWarning, match="frames of 3 trajectories"):
        frame_scores(data)
    assert len(frame_scores(data, unit="trajectory")["energy"]) == 3


def test_too_few_frames_give_infinite_intervals() -> None:
    conformal = Conformal.fit(ensemble(), compared(ensemble(), crystals(8, 7)))
    alone = System.from_ase(bulk("Ar", "fcc", a=30.0))  # without deviation
    interval = conformal.predict(alone).interval(0.95)
    assert interval.energy is not None
    assert interval.forces_radius is not None
    assert torch.isinf(interval.energy).all()
    assert torch.isinf(interval.forces_radius).all()


def test_deviations_stay_those_of_the_potential() -> None:
    system = crystals(3, 8)
    scores = {"energy": np.arange(1.0, 30.0)}
    raw, found = ensemble().predict(system, samples=2), Conformal(ensemble(), scores).predict(system, samples=2)
    assert torch.equal(found.energy_std, raw.energy_std)
    assert not found.provenance.calibrated
    assert found.samples is not None
    calibrated = Calibrated(ensemble(), GlobalMap(2.0, "nll"))
    assert Conformal(calibrated, scores).predict(system).provenance.calibrated
    graph = make_graph(system, build_neighbours(system, 5.0))
    assert torch.equal(Conformal(ensemble(), scores).energy_variance(graph), ensemble().energy_variance(graph))


def test_plain_potentials_have_intervals_alone() -> None:
    system = crystals(3, 8)
    conformal = Conformal(argon(1), {"energy": np.arange(1.0, 30.0)}, relative=False)
    found = conformal.predict(system)
    assert found.energy_std is None
    torch.testing.assert_close(found.interval(0.9).energy, 27.0 * 4 * torch.ones(3))
    with pytest.raises(SimkitError, match="no samples"):
        conformal.predict(system, samples=1)
    with pytest.raises(SimkitError, match="no variance"):
        conformal.energy_variance(make_graph(system, build_neighbours(system, 5.0)))


@pytest.mark.parametrize(
    "potential", [ensemble(), argon(1), Calibrated(ensemble(), GlobalMap(2.0, "nll"))], ids=lambda one: one.kind
)
def test_model_file(potential: Potential, tmp_path: Path) -> None:
    system = crystals(60, 10)
    conformal = Conformal.fit(
        potential, compared(potential, system), over_atoms="sample", numbers=system.numbers.numpy()
    )
    for dtype in (torch.float64, torch.float32):
        saved = conformal.to(dtype)
        save_model(tmp_path / "m.simkit", saved)
        again = load_model(tmp_path / "m.simkit")
        assert isinstance(again, Conformal)
        assert again.over_atoms == "sample"
        new = crystals(2, 11).to(dtype=dtype)
        for level in (0.5, 0.9, 0.99):
            one = saved.predict(new, outputs=OUTPUTS).interval(level)
            other = again.predict(new, outputs=OUTPUTS).interval(level)
            for name in ("energy", "forces_radius", "stress_radius"):
                assert torch.equal(getattr(one, name), getattr(other, name))


def test_intervals_turn_with_the_system() -> None:
    system = crystals(2, 12)
    conformal = Conformal.fit(ensemble(), compared(ensemble(), crystals(40, 13)))
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    turned = replace(system, positions=system.positions @ turn.T, cell=system.cell @ turn.T)
    one = conformal.predict(system, outputs=OUTPUTS).interval(0.7)
    other = conformal.predict(turned, outputs=OUTPUTS).interval(0.7)
    for name in ("energy", "forces_radius"):
        torch.testing.assert_close(getattr(other, name), getattr(one, name), rtol=1e-8, atol=1e-12)


def test_what_cannot_be_made_conformal() -> None:
    with pytest.raises(SimkitError, match="relative=False"):
        Conformal(argon(1), {"energy": np.ones(9)})
    with pytest.raises(SimkitError, match="found virial"):
        Conformal(ensemble(), {"virial": np.ones(9)})
    with pytest.raises(SimkitError, match="found none"):
        Conformal(ensemble(), {})
    data = compared(argon(1), crystals(6, 1))
    with pytest.raises(CalibrationError, match="relative=False"):
        frame_scores(data)
    assert math.isfinite(frame_scores(data, relative=False)["energy"].sum())


class TestBattery(Battery):
    spacing = 3.4

    def potential(self) -> Potential:
        return Conformal(argon(1), {"energy": np.arange(1.0, 30.0)}, relative=False)
