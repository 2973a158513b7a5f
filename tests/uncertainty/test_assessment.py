"""The table of metrics: its rows, its baselines, its error bars."""

import json
import math

import numpy as np
import pytest

from simkit.uncertainty import metrics
from simkit.uncertainty.assessment import Metrics, assess, assess_domains, assess_residuals
from simkit.uncertainty.comparison import Comparison
from simkit.uncertainty.intervals import StudentT
from simkit.uncertainty.residuals import CalibrationError, Residuals


def comparison(seed: int = 0, *, frames: int = 60, wrong: float = 1.0, score: bool = False) -> Comparison:
    """Errors drawn from the predicted deviations, times ``wrong``; ten trajectories."""
    random = np.random.default_rng(seed)
    counts = random.integers(4, 9, frames)
    atoms = int(counts.sum())
    roots = np.exp(0.5 * random.standard_normal((atoms, 1, 1))) * random.standard_normal((atoms, 3, 3)) * 0.05
    forces = random.standard_normal((atoms, 3, 2))
    forces[..., 1] = forces[..., 0] + wrong * np.einsum("aij,aj->ai", roots, random.standard_normal((atoms, 3)))
    energy_std = 0.01 * counts * np.exp(0.5 * random.standard_normal(frames))
    energy = random.standard_normal((frames, 2))
    energy[:, 1] = energy[:, 0] + wrong * energy_std * random.standard_normal(frames)
    stress_std = np.full((frames, 6), 0.002)
    stress = np.zeros((frames, 3, 3, 2))
    voigt = 0.002 * random.standard_normal((frames, 6))
    for value, (i, j) in zip(voigt.T, ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)), strict=True):
        stress[:, i, j, 1] = stress[:, j, i, 1] = value
    covariance = roots @ roots.swapaxes(1, 2)
    return Comparison(
        counts, energy, forces, stress,
        groups=[f"run {index % 10}" for index in range(frames)],
        energy_std=None if score else energy_std,
        forces_cov=None if score else covariance,
        stress_std=None if score else stress_std,
        score=np.trace(covariance, axis1=1, axis2=2) if score else None,
    )  # fmt: skip


def test_every_target_is_calibrated_where_errors_follow_their_deviations() -> None:
    data = comparison(frames=400)
    for target in ("energy", "forces", "force-vectors", "stress"):
        model = assess(data, target, repeats=0)[0]
        assert model.method == "model"
        assert model.values.z_std == pytest.approx(1, abs=0.06)
        assert model.values.coverage_90 == pytest.approx(0.9, abs=0.04)
        assert model.errors is None
    vectors = assess(data, "force-vectors", repeats=0)[0]
    assert vectors.rows == data.counts.sum()
    assert assess(data, "forces", repeats=0)[0].rows == 3 * vectors.rows
    assert vectors.groups == 10
    assert vectors.unit == "eV/Å"


def test_values_are_those_of_the_metrics() -> None:
    data = comparison()
    residuals = data.residuals("forces")
    found = assess(data, "forces", repeats=0)[0]
    assert found.values.nll == metrics.nll(residuals)
    assert found.values.crps == metrics.crps(residuals)
    assert found.spearman_ceiling == metrics.spearman_ceiling(residuals)
    energy = data.residuals("energy")
    expected = (data.energy[:, 1] - data.energy[:, 0]) / data.counts
    assert energy.errors[:, 0] == pytest.approx(expected)
    assert energy.sigmas == pytest.approx(data.energy_std / data.counts)


def test_a_good_uncertainty_beats_what_is_free() -> None:
    data, held_out = comparison(1, frames=200), comparison(2, frames=200)
    model, constant, size = assess(data, "forces", calibration=held_out, repeats=0)
    assert [constant.method, size.method] == ["constant", "size of the force"]
    for free in (constant, size):
        assert model.values.nll < free.values.nll - 0.1
        assert model.values.crps < free.values.crps
        assert model.values.auroc > free.values.auroc + 0.2
    assert constant.values.auroc == 0.5
    assert constant.values.rmse == model.values.rmse
    # fitted to the other data, so that it is their error
    assert constant.values.sharpness == pytest.approx(metrics.rmse(held_out.residuals("forces")), rel=1e-6)
    names = [line.method for line in assess(data, "energy", repeats=0)]
    assert names == ["model", "constant", "number of atoms"]


def test_baselines_follow_what_they_explain() -> None:
    """Errors in proportion to the force make the size of the force a perfect uncertainty."""
    data = comparison(3, frames=300)
    random = np.random.default_rng(0)
    norms = np.linalg.norm(data.forces[..., 1], axis=1)
    data.forces[..., 0] = data.forces[..., 1] + 0.1 * norms[:, None] * random.standard_normal((len(norms), 3))
    size = assess(data, "force-vectors", repeats=0)[2]
    assert size.values.z_std == pytest.approx(1, abs=0.05)
    assert size.values.ence < 0.1
    assert size.values.spearman == pytest.approx(size.spearman_ceiling, abs=0.06)


def test_scores_become_deviations_on_the_calibration_data() -> None:
    data, held_out = comparison(4, score=True, frames=300), comparison(5, score=True, frames=300)
    model = assess(data, "force-vectors", calibration=held_out, repeats=0)[0]
    assert model.values.z_std == pytest.approx(1, abs=0.1)
    assert model.values.ence < 0.15
    with pytest.raises(CalibrationError, match="uncertainty of the energy"):
        assess(data, "energy")


def test_error_bars_hold_for_repetitions() -> None:
    found = [assess(comparison(seed), "force-vectors", repeats=0)[0].values for seed in range(12)]
    one = assess(comparison(0), "force-vectors", repeats=60)[0]
    assert one.errors is not None
    for name in ("rmse", "z_std", "coverage_90", "spearman"):
        spread = np.std([getattr(values, name) for values in found], ddof=1)
        assert 0.4 < getattr(one.errors, name) / spread < 2.5


def test_domains_and_missing_labels() -> None:
    data, far = comparison(6), comparison(7, wrong=3.0)
    data.energy[:, 0] = np.nan
    far.forces[:5, :, 0] = np.nan
    lines = assess_domains(
        {"300 K": data, "900 K": far}, ("energy", "force-vectors"), calibration=comparison(8), repeats=0
    )
    model = {(line.domain, line.target): line.values.z_std for line in lines if line.method == "model"}
    assert set(model) == {("300 K", "force-vectors"), ("900 K", "energy"), ("900 K", "force-vectors")}
    assert model["900 K", "force-vectors"] == pytest.approx(3 * model["300 K", "force-vectors"], rel=0.2)
    assert lines[-1].rows == far.counts.sum() - 5
    with pytest.raises(CalibrationError, match="reference values of the energy"):
        data.residuals("energy")


def test_frames_without_a_group_are_independent() -> None:
    data = comparison()
    assert len(np.unique(data.frame_groups)) == 10
    alone = Comparison(data.counts, data.energy, data.forces, data.stress)
    assert len(np.unique(alone.frame_groups)) == 60
    mixed = Comparison(data.counts, data.energy, data.forces, data.stress, groups=["a", "a", *[""] * 58])
    assert len(np.unique(mixed.frame_groups)) == 59


def test_students_intervals_are_wider() -> None:
    residuals = comparison().residuals("forces")
    gaussian, student = Metrics.of(residuals), Metrics.of(residuals, StudentT(4, 1.1))
    assert student.coverage_90 > gaussian.coverage_90 + 0.02
    assert student.nll == gaussian.nll


def test_fields_have_the_same_table() -> None:
    """Draws are what is resampled, not the points of a field."""
    random = np.random.default_rng(0)
    sigmas = 0.1 * np.exp(0.5 * random.standard_normal((40, 16)))
    errors = sigmas * random.standard_normal((40, 16)) * np.exp(0.3 * random.standard_normal((40, 1)))
    field = Residuals.of(errors, sigmas)
    constant = field.with_sigmas(np.full(640, errors.std()))
    model, free = assess_residuals(field, {"constant": constant}, target="u", unit="m", domain="test", repeats=60)
    assert (model.target, model.unit, model.rows, model.groups) == ("u", "m", 640, 40)
    assert model.values == Metrics.of(field)
    assert model.values.crps < free.values.crps
    points = assess_residuals(Residuals.of(errors.ravel(), sigmas.ravel()), repeats=60)[0]
    assert model.errors is not None
    assert points.errors is not None
    assert model.errors.z_std > 1.3 * points.errors.z_std


def test_arrays_that_do_not_go_together() -> None:
    data = comparison()
    with pytest.raises(CalibrationError, match="60 frames and forces on"):
        Comparison(data.counts, data.energy, data.forces, data.stress, groups=["a", "b"])


def test_lines_can_be_written_as_json() -> None:
    line = assess(comparison(), "stress", repeats=5)[0]
    assert math.isnan(line.values.spearman)
    record = json.loads(json.dumps(line.as_json(), allow_nan=False))
    assert record["values"]["spearman"] is None
    assert record["errors"]["rmse"] > 0
