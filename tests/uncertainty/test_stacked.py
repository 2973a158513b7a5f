"""Members evaluated and trained together are what they are apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.potentials.painn import PaiNN
from simkit.system import System, concatenate
from simkit.training.committee_objective import CommitteeObjective, settings_of_members
from simkit.training.settings import LossSettings, OptimiserSettings, TrainingSettings
from simkit.training.trainer import Trainer
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.stacked import StackedEnsemble
from tests.conformance import systems
from tests.conformance.battery import Battery
from tests.training.examples import CUTOFF, clusters
from tests.uncertainty.examples import mace, painn

OUTPUTS = ("energy", "energies", "forces", "virial", "stress")


def seeded(make, count: int) -> list[Potential]:
    members = []
    for seed in range(count):
        torch.manual_seed(seed)
        members.append(make())
    return members


def batch() -> System:
    return concatenate([systems.crystal((1, 8), 1.8), systems.molecule((1, 8), 1.8)])


@pytest.mark.parametrize("make", [mace, painn])
def test_together_is_the_same_as_one_by_one(make) -> None:
    members = seeded(make, 3)
    system = batch()
    apart = [evaluate(member, system, outputs=OUTPUTS) for member in members]
    for committee in (Ensemble(*members, together=True), StackedEnsemble(*members)):
        for found, expected in zip(committee.member_predictions(system, None, OUTPUTS), apart, strict=True):
            for name in OUTPUTS:
                torch.testing.assert_close(
                    getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-10, equal_nan=True
                )
        together = evaluate(committee, system)
        one_by_one = evaluate(Ensemble(*members, together=False), system)
        assert one_by_one.forces is not None
        torch.testing.assert_close(together.energy, one_by_one.energy, rtol=1e-12, atol=1e-10)
        torch.testing.assert_close(together.forces, one_by_one.forces, rtol=1e-10, atol=1e-10)


def test_the_order_of_the_members_does_not_matter() -> None:
    members = seeded(painn, 3)
    first = Ensemble(*members).predict(batch(), outputs=OUTPUTS)
    second = Ensemble(*[members[k] for k in (2, 0, 1)]).predict(batch(), outputs=OUTPUTS)
    for name in ("energy", "energy_std", "forces", "forces_cov", "stress_cov"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=1e-10, atol=1e-10, equal_nan=True)


def test_potentials_of_other_sizes_are_evaluated_apart() -> None:
    members = [painn(), painn(channels=6)]
    system = batch()
    for found, member in zip(Ensemble(*members).member_predictions(system, None, ("energy",)), members, strict=True):
        torch.testing.assert_close(found.energy, evaluate(member, system).energy)
    for make in (lambda: StackedEnsemble(*members), lambda: Ensemble(*members, together=True).predict(system)):
        with pytest.raises(SimkitError, match="differ in these alone"):
            make()
    with pytest.raises(SimkitError, match="differ in these alone"):
        StackedEnsemble(LennardJones(0.01, 3.4, 5.0), LennardJones(0.02, 3.4, 5.0))


def test_members_that_changed_are_looked_at_again() -> None:
    """Reference energies that were refitted make members that do not go together any more."""
    members = seeded(painn, 2)
    ensemble, system = Ensemble(*members), batch()
    ensemble.member_predictions(system, None, ("energy",))
    members[1].reference.values += 1.0
    found = ensemble.member_predictions(system, None, ("energy",))[1]
    torch.testing.assert_close(found.energy, evaluate(members[1], system).energy)


def test_members_come_back_from_the_stack() -> None:
    members = seeded(painn, 2)
    members[0].embedding.weight.requires_grad_(False)
    for found, expected in zip(StackedEnsemble(*members).unstacked().members, members, strict=True):
        assert found.state_dict().keys() == expected.state_dict().keys()
        for name, value in expected.state_dict().items():
            assert torch.equal(found.state_dict()[name], value)
        assert not found.embedding.weight.requires_grad
        assert found.readout[0].weight.requires_grad


def test_gradients_reach_the_members() -> None:
    """The energies of all members can be differentiated by the parameters of each, and by the vectors."""
    members = seeded(painn, 2)
    system = batch()
    graph = make_graph(system, build_neighbours(system, 3.2))
    weights = [member.readout[2].weight for member in members]
    found = torch.autograd.grad(Ensemble(*members, together=True).member_energies(graph).square().sum(), weights)
    expected = torch.autograd.grad(Ensemble(*members, together=False).member_energies(graph).square().sum(), weights)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-8)


def small() -> PaiNN:
    return PaiNN([18], cutoff=CUTOFF, channels=4, layers=1, n_radial=4)


def settings() -> TrainingSettings:
    return TrainingSettings(
        max_epochs=5,
        batch_size=2,
        dtype="float64",
        loss=LossSettings(energy=1, forces=100),
        optimiser=OptimiserSettings(learning_rate=0.01, weight_decay=1e-2),
        clip=0.5,
        frozen=("embedding.*",),
    )


def test_training_together_is_training_apart(tmp_path: Path) -> None:
    """20 steps of Adam with clipped gradients, weight decay, frozen weights and running averages."""
    frames, held_out = clusters(8), clusters(3, 1)
    stack = StackedEnsemble(*seeded(small, 3))
    chosen = settings_of_members(settings(), stack)
    trainer = Trainer(stack, frames, held_out, chosen, tmp_path / "together", objective=CommitteeObjective)
    together = trainer.fit()
    assert trainer.position.step == 20
    losses = 0.0
    for index, member in enumerate(seeded(small, 3)):
        alone = Trainer(member, frames, held_out, settings(), tmp_path / str(index))
        losses += alone.fit().best_loss
        assert alone.average is not None
        assert trainer.average is not None
        for own, stacked in zip(alone.average.values, trainer.average.values, strict=True):
            torch.testing.assert_close(stacked[index], own, rtol=1e-10, atol=1e-10)
        before = dict(seeded(small, 3)[index].named_parameters())
        moved = max(float((value - before[name]).abs().max().detach()) for name, value in member.named_parameters())
        assert moved > 1e-2
    assert together.best_loss == pytest.approx(losses, rel=1e-9)


def test_errors_in_the_log_are_those_of_the_mean(tmp_path: Path) -> None:
    frames = clusters(4)
    stack = StackedEnsemble(*seeded(small, 2))
    chosen = settings_of_members(settings(), stack)
    trainer = Trainer(stack, frames, frames, chosen, tmp_path, objective=CommitteeObjective)
    found = trainer.assess(frames)
    mean = Ensemble(*[member.double() for member in stack.unstacked().members])
    errors = [
        float((evaluate(mean, frame.system).energy - frame.labels.energy).abs() / frame.system.n_atoms)
        for frame in frames.frames
    ]
    assert found["energy_mae_mev_per_atom"] == pytest.approx(1e3 * sum(errors) / len(errors), rel=1e-9)


def test_only_stacks_are_trained_together(tmp_path: Path) -> None:
    with pytest.raises(SimkitError, match="stacked ensemble"):
        Trainer(small(), clusters(2), clusters(1), settings(), tmp_path, objective=CommitteeObjective)


def test_round_trip(tmp_path: Path) -> None:
    stack = StackedEnsemble(*seeded(mace, 2)).eval()
    save_model(tmp_path / "stack.simkit", stack)
    again = load_model(tmp_path / "stack.simkit")
    assert isinstance(again, StackedEnsemble)
    first, second = (one.predict(batch(), outputs=OUTPUTS) for one in (stack, again))
    for name in ("energy", "energy_std", "forces", "forces_cov"):
        assert torch.equal(getattr(first, name), getattr(second, name))


class TestBattery(Battery):
    elements = (1, 8)

    def potential(self) -> Potential:
        return StackedEnsemble(*seeded(painn, 2))


class TestBatteryOfMembersTogether(Battery):
    elements = (1, 8)

    def potential(self) -> Potential:
        return Ensemble(*seeded(painn, 2), together=True)
