"""Heads on one network: what they start from, what they predict, how they are trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from simkit.datasets.combine import MemoryDataset
from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.potentials.painn import PaiNN
from simkit.system import System, concatenate
from simkit.training.gaussian_objective import gaussian_objective
from simkit.training.log import read_log
from simkit.training.settings import Constant, LossSettings, OptimiserSettings, StageTwo, TrainingSettings
from simkit.training.trainer import Trainer
from simkit.uncertainty.shallow_ensemble import ShallowEnsemble
from tests.conformance import systems
from tests.conformance.battery import Battery
from tests.training.examples import clusters, triangles
from tests.uncertainty.examples import mace, painn

OUTPUTS = ("energy", "energies", "forces", "stress")


def batch() -> System:
    return concatenate([systems.crystal((1, 8), 1.8), systems.molecule((1, 8), 1.8)])


def moved(heads: int = 4) -> ShallowEnsemble:
    """Heads whose mean is not that of the potential, as after a training."""
    shallow = ShallowEnsemble(mace(), heads)
    with torch.no_grad():
        shallow.heads += 0.3
    return shallow


class TestBattery(Battery):
    elements = (1, 8)

    def potential(self) -> Potential:
        return ShallowEnsemble(painn(), 3)


@pytest.mark.parametrize("make", [mace, painn])
def test_starts_as_the_potential(make) -> None:
    potential = make()
    found = evaluate(ShallowEnsemble(potential, 5), batch(), outputs=OUTPUTS)
    expected = evaluate(potential, batch(), outputs=OUTPUTS)
    for name in OUTPUTS:
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-10, equal_nan=True
        )


def test_a_head_is_the_potential_with_other_weights() -> None:
    """Moving the weights of the last linear map of PaiNN by w gives the energies and forces of head w."""
    potential = painn()
    shallow = ShallowEnsemble(potential, 3)
    head = shallow.member_predictions(batch(), None, OUTPUTS)[1]
    last = potential.readout[2]
    with torch.no_grad():
        last.weight += shallow.heads[1, :-1]
        last.bias += shallow.heads[1, -1]
    expected = evaluate(potential, batch(), outputs=OUTPUTS)
    for name in OUTPUTS:
        torch.testing.assert_close(getattr(head, name), getattr(expected, name), rtol=1e-9, atol=1e-9, equal_nan=True)


def test_mean_and_variance_of_the_heads() -> None:
    shallow, system = moved(), batch()
    prediction = shallow.predict(system, outputs=OUTPUTS, samples=4)
    neighbours = build_neighbours(system, shallow.cutoff)
    found = shallow.gaussians(system, neighbours, ("energy", "forces", "stress"))
    derived = evaluate(shallow, system, outputs=OUTPUTS)
    assert prediction.samples is not None
    assert prediction.samples.forces is not None
    torch.testing.assert_close(found.energy_variance, prediction.samples.energy.var(0))
    torch.testing.assert_close(found.forces_variance, prediction.samples.forces.var(0))
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(
            getattr(found.mean, name), getattr(derived, name), rtol=1e-9, atol=1e-9, equal_nan=True
        )
    assert not found.energy_variance.requires_grad


def test_derivatives_of_the_forces_variance_by_the_parameters() -> None:
    """The double backward pass of all heads against central differences."""
    shallow, system = moved(3), batch()
    neighbours = build_neighbours(system, shallow.cutoff)

    def value() -> torch.Tensor:
        found = shallow.gaussians(system, neighbours, ("energy", "forces"), create_graph=True)
        assert found.forces_variance is not None
        return found.forces_variance.sum() + found.energy_variance.sum() + found.mean.forces.square().sum()

    parameters = [shallow.heads, shallow.potential.interactions[0].linear_up.weight]
    gradients = torch.autograd.grad(value(), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn_like(parameter)
        step, ends = 1e-5, []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * direction
            ends.append(float(value().detach()))
            with torch.no_grad():
                parameter -= sign * step * direction
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-6)


def settings(**changes) -> TrainingSettings:
    values = {
        "max_epochs": 6,
        "batch_size": 4,
        "dtype": "float64",
        "loss": LossSettings(energy=1, forces=100),
        "stage_two": StageTwo(start_epoch=2, energy=1, forces=10, learning_rate=0.01, final=0.1, average="ema"),
        "optimiser": OptimiserSettings(learning_rate=0.01),
        "schedule": Constant(),
        "ema": None,
    }
    return TrainingSettings(**values | changes)


def argon_painn() -> PaiNN:
    return PaiNN([18], cutoff=4.0, channels=8, layers=1, n_radial=6)


def test_training_warms_up_with_the_loss_of_the_mean(tmp_path: Path) -> None:
    """Until stage two the heads' spread stays; then scores train it, and are what is validated."""
    frames = triangles(8)
    shallow = ShallowEnsemble(argon_painn(), 4)
    before = (shallow.heads - shallow.heads.mean(0)).detach().clone()
    chosen = settings(max_epochs=2, stage_two=StageTwo(start_epoch=1, energy=0, forces=1, learning_rate=1e-12))
    trainer = Trainer(shallow, frames, frames, chosen, tmp_path, objective=gaussian_objective("crps"))
    trainer.fit()
    torch.testing.assert_close((shallow.heads - shallow.heads.mean(0)).detach(), before, rtol=0, atol=1e-4)
    rows = read_log(tmp_path / "log.csv")
    assert [row["stage"] for row in rows] == [1, 2]
    sigma, error = [], []
    for frame in frames.frames:
        found = shallow.predict(frame.system)
        assert found.forces_std is not None
        sigma.append((found.forces_std**2 + 1e-5).sqrt())
        error.append(found.forces - frame.labels.forces)
    z = torch.cat(error) / torch.cat(sigma)
    normal = torch.distributions.Normal(0.0, 1.0)
    score = torch.cat(sigma) * (z * (2 * normal.cdf(z) - 1) + 2 * normal.log_prob(z).exp() - torch.pi**-0.5)
    assert rows[1]["validation_loss"] == pytest.approx(float(score.mean()), rel=1e-6)


@pytest.mark.parametrize("score", ["crps", "nll"])
def test_training_brings_the_spread_to_the_size_of_the_errors(score, tmp_path: Path) -> None:
    frames = triangles(12)
    shallow = ShallowEnsemble(argon_painn(), 4, width=2.0)
    weights = {"energy": 1, "forces": 10} if score == "crps" else {"energy": 0.1, "forces": 1}
    stage = StageTwo(start_epoch=3, learning_rate=0.02, final=0.1, **weights)
    chosen = settings(max_epochs=15, stage_two=stage)

    def spread() -> float:
        """Root-mean-square z of the forces."""
        found = [shallow.predict(frame.system) for frame in frames.frames]
        z = [
            (one.forces - frame.labels.forces) / one.forces_std for one, frame in zip(found, frames.frames, strict=True)
        ]
        return float(torch.cat(z).square().mean().sqrt())

    before = spread()
    Trainer(shallow, frames, MemoryDataset(frames.frames), chosen, tmp_path, objective=gaussian_objective(score)).fit()
    assert not 0.5 < before < 2
    assert 0.5 < spread() < 2


def test_what_cannot_be_trained_or_wrapped(tmp_path: Path) -> None:
    with pytest.raises(SimkitError, match="last_layer"):
        ShallowEnsemble(LennardJones(0.01, 3.4, 5.0))
    with pytest.raises(SimkitError, match="two heads"):
        ShallowEnsemble(painn(), 1)
    with pytest.raises(SimkitError, match="predicts its own variance"):
        Trainer(argon_painn(), clusters(2), clusters(1), settings(), tmp_path, objective=gaussian_objective("crps"))


def test_round_trip(tmp_path: Path) -> None:
    shallow = moved().eval()
    save_model(tmp_path / "model.simkit", shallow)
    again = load_model(tmp_path / "model.simkit")
    assert isinstance(again, ShallowEnsemble)
    first, second = (one.predict(batch(), outputs=OUTPUTS) for one in (shallow, again))
    for name in ("energy", "energy_std", "forces", "forces_cov"):
        assert torch.equal(getattr(first, name), getattr(second, name))
