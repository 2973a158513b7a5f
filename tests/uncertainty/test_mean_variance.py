"""Variance heads: what they predict and what training makes of them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from simkit.datasets.base import Frame, Labels
from simkit.datasets.combine import MemoryDataset
from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.potentials.painn import PaiNN
from simkit.system import System, concatenate
from simkit.training.checkpoint import load_checkpoint
from simkit.training.gaussian_objective import gaussian_objective
from simkit.training.settings import Cosine, LossSettings, OptimiserSettings, TrainingSettings
from simkit.training.trainer import Trainer
from simkit.training.uncertainty import MeanVarianceTraining
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.mean_variance import MeanVariance
from tests.conformance import systems
from tests.conformance.battery import Battery
from tests.uncertainty.examples import mace, painn


def wrapped(potential: Potential) -> MeanVariance:
    """With weights of the last layer that are not zero, so that atoms differ."""
    found = MeanVariance(potential, 6)
    torch.nn.init.normal_(found.variance[2].weight)
    return found


def batch() -> System:
    return concatenate([systems.crystal((1, 8), 1.8), systems.molecule((1, 8), 1.8)])


class TestBattery(Battery):
    elements = (1, 8)

    def potential(self) -> Potential:
        return wrapped(painn())


@pytest.mark.parametrize("make", [mace, painn])
def test_variances_add_up_over_atoms(make) -> None:
    potential = make()
    model, system = wrapped(potential), batch()
    found = model.predict(system, outputs=("energy", "energies", "forces", "stress"))
    plain = evaluate(potential, system, outputs=("forces", "stress"))
    torch.testing.assert_close(found.forces, plain.forces)
    torch.testing.assert_close(found.stress, plain.stress, equal_nan=True)
    assert found.energies_std is not None
    total = torch.zeros(2).index_add(0, system.batch, found.energies_std**2)
    torch.testing.assert_close(found.energy_std, total.sqrt())
    torch.testing.assert_close(found.aleatoric_energy_std, found.energy_std)
    assert found.forces_cov is not None
    assert found.force_sigma is not None
    torch.testing.assert_close(found.forces_cov, (found.force_sigma**2)[:, None, None] * torch.eye(3))
    assert float(found.force_sigma.std()) > 0
    graph = make_graph(system, build_neighbours(system, model.cutoff))
    torch.testing.assert_close(model.energy_variance(graph), total)


def test_starts_with_the_scales_that_are_given() -> None:
    model = MeanVariance(painn(), 6, energy_scale=0.02, forces_scale=0.3)
    found = model.predict(batch(), outputs=("energy", "energies", "forces"))
    torch.testing.assert_close(found.energies_std, torch.full((batch().n_atoms,), 0.02), rtol=1e-5, atol=0)
    torch.testing.assert_close(found.force_sigma, torch.full((batch().n_atoms,), 0.3), rtol=1e-5, atol=0)


def noisy(deviations: tuple[float, float], frames: int = 40) -> MemoryDataset:
    """Chains of argon and krypton atoms, whose forces are noise of one deviation for each element."""
    generator = torch.Generator().manual_seed(3)
    result = []
    for index in range(frames):
        numbers = torch.tensor([18, 36, 18, 36])
        positions = torch.tensor([[3.0 * k, 0, 0] for k in range(4)])
        positions = positions + 0.1 * torch.randn(4, 3, generator=generator)
        cell, pbc = torch.zeros(1, 3, 3), torch.zeros(1, 3, dtype=torch.bool)
        system = System(positions, numbers, cell, pbc, torch.zeros(4, dtype=torch.int64))
        sigma = torch.tensor([deviations[int(number == 36)] for number in numbers])[:, None]
        forces = sigma * torch.randn(4, 3, generator=generator)
        result.append(Frame(system, Labels(None, forces), f"noise:{index}"))
    return MemoryDataset(result)


@pytest.mark.parametrize("score", ["nll", "beta-nll"])
def test_learns_the_noise_of_each_element(score, tmp_path: Path) -> None:
    frames = noisy((0.05, 0.4))
    model = MeanVariance(PaiNN([18, 36], cutoff=4.0, channels=4, layers=1, n_radial=4), 8)
    chosen = TrainingSettings(
        max_epochs=16,
        batch_size=8,
        dtype="float64",
        loss=LossSettings(energy=0, forces=1),
        optimiser=OptimiserSettings(learning_rate=0.05),
        schedule=Cosine(final=0.01),
        ema=None,
    )
    Trainer(model, frames, frames, chosen, tmp_path, objective=gaussian_objective(score)).fit()
    system = frames.frames[0].system
    sigma = model.predict(system).force_sigma
    assert sigma is not None
    torch.testing.assert_close(sigma, torch.tensor([0.05, 0.4, 0.05, 0.4]), rtol=0.2, atol=0)


def test_a_detached_likelihood_leaves_the_potential_as_it_would_be(tmp_path: Path) -> None:
    frames = noisy((0.05, 0.4), 8)
    chosen = TrainingSettings(
        max_epochs=3,
        dtype="float64",
        loss=LossSettings(energy=0, forces=1),
        optimiser=OptimiserSettings(weight_decay=0),
        clip=None,
    )
    settings = MeanVarianceTraining(detached=True, warm_up=0, energy=0)
    start = PaiNN([18, 36], cutoff=4.0, channels=4, layers=1, n_radial=4)
    model = settings.wrap(deepcopy(start), seed=0)
    assert isinstance(model, MeanVariance)
    head = deepcopy(model.variance.state_dict())
    Trainer(start, frames, frames, chosen, tmp_path / "plain").fit()
    chosen = settings.training(chosen)
    Trainer(model, frames, frames, chosen, tmp_path / "head", objective=settings.objective).fit()
    plain = load_checkpoint(tmp_path / "plain" / "last.ckpt")["potential"]
    own = load_checkpoint(tmp_path / "head" / "last.ckpt")["potential"]
    for name, value in plain.items():
        torch.testing.assert_close(own[f"potential.{name}"], value, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(own["variance.0.weight"], head["0.weight"])


def test_an_ensemble_separates_noise_and_ignorance() -> None:
    """The total variance is the mean of the members' variances and the variance of their means."""
    members = [wrapped(painn()) for _ in range(3)]
    system, outputs = batch(), ("energy", "energies", "forces", "stress")
    found = Ensemble(*members).predict(system, outputs=outputs)
    each = [member.predict(system, outputs=outputs) for member in members]
    noise = torch.stack([one.energy_std**2 for one in each]).mean(0)
    spread = torch.stack([one.energy for one in each]).var(0)
    torch.testing.assert_close(found.aleatoric_energy_std, noise.sqrt())
    torch.testing.assert_close(found.epistemic_energy_std, spread.sqrt())
    torch.testing.assert_close(found.energy_std, (noise + spread).sqrt())
    plain = Ensemble(*[member.potential for member in members]).predict(system, outputs=outputs)
    torch.testing.assert_close(
        found.forces_cov, plain.forces_cov + torch.stack([one.forces_cov for one in each]).mean(0)
    )
    torch.testing.assert_close(
        found.energies_std**2, plain.energies_std**2 + torch.stack([one.energies_std**2 for one in each]).mean(0)
    )
    torch.testing.assert_close(found.stress_cov, plain.stress_cov, equal_nan=True)
    graph = make_graph(system, build_neighbours(system, 3.2))
    torch.testing.assert_close(Ensemble(*members).energy_variance(graph), found.energy_std**2)


def test_what_it_cannot_do() -> None:
    with pytest.raises(SimkitError, match="features"):
        MeanVariance(LennardJones(0.01, 3.4, 5.0))
    with pytest.raises(SimkitError, match="samples=0"):
        wrapped(painn()).predict(batch(), samples=2)
    with pytest.raises(SimkitError, match="positive"):
        MeanVariance(painn(), 0)


def test_round_trip(tmp_path: Path) -> None:
    model = wrapped(mace()).eval()
    save_model(tmp_path / "model.simkit", model)
    again = load_model(tmp_path / "model.simkit")
    assert isinstance(again, MeanVariance)
    first, second = (one.predict(batch(), outputs=("energy", "energies", "forces")) for one in (model, again))
    for name in ("energy", "energy_std", "energies_std", "forces_cov"):
        assert torch.equal(getattr(first, name), getattr(second, name))
