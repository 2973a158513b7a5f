"""Dynamics that end, or keep frames, where they leave what a potential knows."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from torch import Tensor

from simkit.csv_tables import read_table
from simkit.dynamics import ForceField, LogFile, MDState, start
from simkit.dynamics.guards import TooHot
from simkit.dynamics.verlet import velocity_verlet
from simkit.errors import DataError, SimkitError, SimkitWarning
from simkit.flows import Checkpoint, Every, Observer, Result, Status, integrate
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.calibration_maps import GlobalMap
from simkit.uncertainty.collector import FrameCollector
from simkit.uncertainty.monitor import UncertaintyMonitor
from simkit.uncertainty.stop_rule import UncertaintyStop, thresholds
from tests.uncertainty.committees import argon, system
from tests.uncertainty.scripted import Field, Scripted, flying


def ramp(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def blips(x: Tensor) -> Tensor:
    """Large for one look at x = 0.5, then for good from x = 1.5 on."""
    return torch.where(((x > 0.45) & (x < 0.55)) | (x > 1.45), 1.0, 0.1)


def run(
    state: MDState, potential: Scripted, observers: list[Observer[MDState]], steps: int = 30, **options
) -> Result[MDState]:
    forces = ForceField(potential)
    return integrate(velocity_verlet(forces), forces(state), 10.0, steps, observers=observers, **options)


def monitor(field: Field = ramp, **options) -> UncertaintyMonitor:
    return UncertaintyMonitor(Scripted(field, **options))


def test_systems_stop_alone_at_their_last_safe_frames() -> None:
    """At 0.01 and 0.02 Å/fs, deviations pass 1 eV/Å after 100 and 50 fs; the third system stays where it is."""
    watch = monitor()
    found = run(flying([1, 2, 0]), watch.potential, [UncertaintyStop(watch, 1.05, checks=2, of=3, every=1)], 15)
    statuses = [one.status for one in found.outcomes]
    assert statuses == [Status.UNCERTAIN, Status.UNCERTAIN, Status.FINISHED]
    steps = [one.steps for one in found.outcomes]
    assert steps == [10, 5, 15]
    x = found.state.system.positions[::2, 0]
    torch.testing.assert_close(x, torch.tensor([1.0, 1.0, 0.0]), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.state.time, torch.tensor([100.0, 50.0, 150.0]))
    assert "At step 12 the largest force_sigma of an atom was 1.2 eV/Å, above 1.05 eV/Å in 2 of the last 3 checks" in (
        found.outcomes[0].problem
    )
    assert "last frame below was at step 10" in found.outcomes[0].problem


def test_single_frames_are_forgiven() -> None:
    for checks, expected in ((1, 4), (2, 14)):
        watch = monitor(blips)
        found = run(flying([1]), watch.potential, [UncertaintyStop(watch, 0.5, checks=checks, of=4, every=1)])
        assert found.outcomes[0].status is Status.UNCERTAIN
        assert found.outcomes[0].steps == expected


def test_numbers_that_are_not_finite_count_as_uncertain() -> None:
    watch = monitor(lambda x: torch.where(x > 0.45, torch.nan, 0.1))
    found = run(flying([1]), watch.potential, [UncertaintyStop(watch, 1.0, checks=1, of=1, every=1)])
    assert found.outcomes[0].steps == 4


def test_distances_stop_too_without_calibration() -> None:
    watch = monitor(score=True, calibrated=False)
    found = run(flying([1]), watch.potential, [UncertaintyStop(watch, 1.05, quantity="score", checks=1, of=1, every=1)])
    assert found.outcomes[0].status is Status.UNCERTAIN
    assert "largest score of an atom was 1.1, above 1.05 in 1" in found.outcomes[0].problem
    other = monitor(score=True)
    with pytest.raises(SimkitError, match="that has none: watch its score"):
        run(flying([1]), other.potential, [UncertaintyStop(other, 1.0)])


def test_deviations_that_are_not_calibrated_are_refused() -> None:
    watch = monitor(calibrated=False)
    with pytest.raises(SimkitError, match="expected a calibrated uncertainty to compare with a threshold"):
        UncertaintyStop(watch, 1.0)
    with pytest.warns(SimkitWarning, match="are not calibrated"):
        UncertaintyStop(watch, 1.0, allow_uncalibrated=True)
    calibrated = UncertaintyMonitor(Calibrated(argon(), GlobalMap(2.0, "nll")))
    assert UncertaintyStop(calibrated, 1.0).above == 1.0
    for settings in ({"above": 0.0}, {"above": 1.0, "checks": 3, "of": 2}, {"above": 1.0, "every": 0}):
        with pytest.raises(SimkitError, match="1 <= checks <= of"):
            UncertaintyStop(calibrated, **settings)


def test_physical_guards_work_beside() -> None:
    watch = monitor()
    state = flying([1, 60])
    found = run(state, watch.potential, [UncertaintyStop(watch, 1.05, every=1)], guards=[TooHot(1e9)])
    assert [one.status for one in found.outcomes] == [Status.UNCERTAIN, Status.UNCERTAIN]
    hot = float(state.temperature()[1])
    with pytest.raises(SimkitError, match="start of system 1 cannot be used"):
        run(state, watch.potential, [UncertaintyStop(watch, 1.0)], guards=[TooHot(hot / 2)])


@pytest.mark.parametrize("interrupted_at", [14, 21, 23])
def test_interrupted_runs_end_at_the_same_frame(tmp_path: Path, interrupted_at: int) -> None:
    """The last looks and the last safe frame survive, though the run is killed between looks."""

    def observers(folder: Path) -> list[Observer[MDState]]:
        watch = monitor()
        stop = UncertaintyStop(watch, 1.05, checks=3, of=4, every=2)
        collector = FrameCollector(folder / "frames.xyz", watch, 0.25, 0.95, every=2, spacing=4)
        return [LogFile(folder / "log.csv", 2, watch.columns), collector, stop]

    def attempt(folder: Path, kill: int | None) -> Result[MDState]:
        def maybe(step: int, state: MDState) -> None:
            if step == kill:
                raise KeyboardInterrupt

        saved = Checkpoint(folder / "checkpoint.safetensors", 3)
        return run(
            flying([0.5, 0.25]),
            Scripted(ramp),
            [*observers(folder), Every(1, maybe)],
            32,
            checkpoint=saved,
            check_every=7,
        )

    expected = attempt(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        attempt(tmp_path / "killed", interrupted_at)
    found = attempt(tmp_path / "killed", None)
    assert found.outcomes == expected.outcomes
    assert torch.equal(found.state.system.positions, expected.state.system.positions)
    assert torch.equal(found.state.time, expected.state.time)
    for name in ("log.csv", "frames.xyz"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_frames_between_thresholds_are_collected(tmp_path: Path) -> None:
    watch = monitor()
    collector = FrameCollector(tmp_path / "frames.xyz", watch, 0.55, 1.05, every=1, spacing=2, at_most=4)
    run(flying([1, 2]), watch.potential, [collector], 12)
    frames = ase.io.read(tmp_path / "frames.xyz", ":")
    assert isinstance(frames, list)
    assert [(one.info["system"], one.info["step"]) for one in frames] == [(1, 3), (1, 5), (0, 6), (0, 8)]
    for one in frames:
        assert one.info["force_sigma_max"] == pytest.approx(float(one.positions[0, 0]))
        np.testing.assert_allclose(one.arrays["force_sigma"], one.positions[:, 0], atol=1e-8)
        assert one.info["time_fs"] == pytest.approx(10 * one.info["step"])
        assert one.info["uncertainty"] == "script, calibrated"
        assert one.calc is None
    with pytest.raises(SimkitError, match="0 <= above < below"):
        FrameCollector(tmp_path / "other.xyz", watch, 1.0, 0.5)


def test_the_log_has_uncertainties_and_computes_them_once(tmp_path: Path) -> None:
    watch = UncertaintyMonitor(argon())
    log = LogFile(tmp_path / "log.csv", 10, watch.columns)
    at = system()
    forces = ForceField(argon())
    state = forces(start(at, 30.0, generator=torch.Generator().manual_seed(0)))
    collector = FrameCollector(tmp_path / "frames.xyz", watch, 0.0)
    integrate(velocity_verlet(forces), state, 2.0, 20, observers=[log, collector])
    assert watch.evaluations == 3
    table = read_table(tmp_path / "log.csv")
    expected = argon().predict(at)
    assert expected.force_sigma is not None
    assert expected.energy_std is not None
    assert table["force_sigma_max_ev_per_ang"][0] == pytest.approx(float(expected.force_sigma.max()), rel=1e-9)
    assert table["energy_std_ev"][0] == pytest.approx(float(expected.energy_std), rel=1e-9)


def test_thresholds_are_quantiles() -> None:
    found = thresholds(np.arange(1.0, 101.0))
    assert found.low == pytest.approx(95.05)
    assert found.high == pytest.approx(5 * 95.05)
    with pytest.raises(DataError, match="at least 20 calibration frames, found 19"):
        thresholds(np.ones(19))
    with pytest.raises(DataError, match="of which 19 are finite"):
        thresholds(np.array([np.nan] + [1.0] * 19))
