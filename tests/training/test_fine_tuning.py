"""Fine-tuning: reference energies, elements, levels of theory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simkit.datasets.base import Frame, collate
from simkit.datasets.combine import Concatenation, MemoryDataset
from simkit.errors import DataError, SimkitError
from simkit.evaluation import evaluate
from simkit.potential import Potential
from simkit.potentials.element_shift import ElementShift
from simkit.potentials.elements import ReferenceEnergies
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.mace import MACE
from simkit.potentials.model_file import save_model
from simkit.potentials.one_head import OneHead
from simkit.potentials.painn import PaiNN
from simkit.potentials.sum import Sum
from simkit.training.architectures import Pretrained
from simkit.training.fine_tuning import ForReplay, pretrained_potential, refit_reference_energies, with_replay
from tests.training.examples import clusters, guess, without


def two_elements() -> PaiNN:
    return PaiNN([10, 18], cutoff=5.0, channels=4, layers=1, n_radial=4, reference_energies=[[-3.0, -5.0]])


def labelled_by(potential: Potential, shifts: dict[int, float]) -> MemoryDataset:
    """Frames of two elements whose energies are the potential's plus a shift for each element."""
    frames = []
    for index, frame in enumerate(clusters(6).frames):
        numbers = torch.full_like(frame.system.numbers, 18)
        numbers[: 1 + index % 3] = 10
        system = replace(frame.system, numbers=numbers)
        shift = sum(shifts[number] for number in numbers.tolist())
        energy = evaluate(potential, system, outputs=("energy",)).energy + shift
        frames.append(replace(frame, system=system, labels=replace(frame.labels, energy=energy)))
    return MemoryDataset(frames)


def test_refit_finds_the_shift_of_each_element() -> None:
    potential = two_elements()
    data = labelled_by(potential, {10: 0.7, 18: -1.3})
    changes = refit_reference_energies(potential, data, batch_size=4)
    torch.testing.assert_close(changes, torch.tensor([[0.7, -1.3]]), atol=1e-10, rtol=0)
    torch.testing.assert_close(potential.reference.values, torch.tensor([[-2.3, -6.3]]))


def test_refit_uses_the_frames_that_have_energies() -> None:
    potential = two_elements()
    frames = labelled_by(potential, {10: 0.7, 18: -1.3}).frames
    frames[0] = without(frames[0], "energy")
    changes = refit_reference_energies(potential, MemoryDataset(frames))
    torch.testing.assert_close(changes, torch.tensor([[0.7, -1.3]]), atol=1e-10, rtol=0)


def in_wrappers(potential: Potential) -> dict[str, Potential]:
    """The potential in others that list its elements in another order, or only some of them."""
    return {
        "sum": Sum(potential, LennardJones(0.1, 2.5, 4.0)),
        "nested": Sum(LennardJones(0.1, 2.5, 4.0), Sum(potential)),
        "twice": Sum(potential, potential),
    }


@pytest.mark.parametrize("name", ["sum", "nested", "twice"])
@pytest.mark.parametrize("head", ["b", "a"])
def test_refit_within_other_potentials(name: str, head: str) -> None:
    """The inner model's elements are in descending order, and its default level of theory is the second."""
    inner = two_heads([18, 10])
    potential = in_wrappers(inner if head == "b" else OneHead(inner, head))[name]
    data = labelled_by(potential, {10: 0.7, 18: -1.3})
    refit_reference_energies(potential, data)
    expected = torch.zeros(2, 2)
    expected[inner.config()["heads"].index(head)] = torch.tensor([-1.3, 0.7]) / (2 if name == "twice" else 1)
    torch.testing.assert_close(inner.reference_energies.values, expected)
    torch.testing.assert_close(evaluate(potential, data[1].system).energy, data[1].labels.energy)


def test_refit_of_elements_that_are_shifted_by_a_constant() -> None:
    potential = ElementShift(LennardJones(0.1, 2.5, 4.0), {"Ar": 1.0, "Ne": 2.0})
    refit_reference_energies(potential, labelled_by(potential, {10: 0.7, 18: -1.3}))
    assert potential.config()["energies"] == pytest.approx({"Ne": 2.7, "Ar": -0.3}, abs=1e-10)


def test_refit_changes_each_level_of_theory_by_its_own_frames() -> None:
    potential = two_heads()
    first, second = (
        ForReplay(labelled_by(OneHead(potential, name), shifts), head=head)
        for head, (name, shifts) in enumerate({"a": {10: 0.7, 18: -1.3}, "b": {10: 0.2, 18: 0.4}}.items())
    )
    refit_reference_energies(potential, Concatenation([first, second]))
    torch.testing.assert_close(potential.reference_energies.values, torch.tensor([[0.7, -1.3], [0.2, 0.4]]))


def two_heads(elements: Sequence[int] = (10, 18)) -> MACE:
    torch.manual_seed(0)
    return MACE(
        elements=elements,
        cutoff=4.0,
        hidden_irreps="2x0e",
        max_ell=1,
        correlation=2,
        layers=1,
        radial_mlp=[4],
        heads=["a", "b"],
        default_head="b",
        reference_energies=[[0.0, 0.0], [0.0, 0.0]],
        scale=[1.0, 1.0],
        shift=[0.0, 0.0],
    )


@pytest.mark.parametrize(("head", "row"), [(None, 1), ("a", 0)])
def test_refit_changes_the_level_of_theory_in_use(head: str | None, row: int) -> None:
    potential: Potential = two_heads()
    if head is not None:
        potential = OneHead(potential, head)
    refit_reference_energies(potential, labelled_by(potential, {10: 0.7, 18: -1.3}))
    (references,) = (module for module in potential.modules() if isinstance(module, ReferenceEnergies))
    expected = torch.zeros(2, 2)
    expected[row] = torch.tensor([0.7, -1.3])
    torch.testing.assert_close(references.values, expected)


def test_refit_without_energies_is_an_error() -> None:
    frames = MemoryDataset([without(frame, "energy") for frame in clusters(3).frames])
    with pytest.raises(DataError, match="expected training frames with energies"):
        refit_reference_energies(two_elements(), frames)


def test_refit_of_a_potential_without_reference_energies_is_an_error() -> None:
    with pytest.raises(SimkitError, match="found 0 in this lennard-jones potential: say reference_energies: keep"):
        refit_reference_energies(guess(), clusters(3))


def test_pretrained_keeps_or_refits(tmp_path: Path) -> None:
    path, potential = tmp_path / "a.simkit", two_elements()
    save_model(path, potential)
    data = labelled_by(potential, {10: 0.7, 18: -1.3})
    system = data[0].system
    kept = pretrained_potential(Pretrained(model="", reference_energies="keep"), path, [10, 18], data)
    torch.testing.assert_close(evaluate(kept, system).energy, evaluate(potential, system).energy)
    refitted = pretrained_potential(Pretrained(model=""), path, [10, 18], data)
    torch.testing.assert_close(evaluate(refitted, system).energy, data[0].labels.energy)
    assert all(parameter.requires_grad for parameter in refitted.parameters())


def test_elements_that_the_model_lacks_are_named(tmp_path: Path) -> None:
    save_model(tmp_path / "a.simkit", two_elements())
    with pytest.raises(SimkitError, match="the model supports Ne Ar, the training data also contain H C: say elements"):
        pretrained_potential(Pretrained(model=""), tmp_path / "a.simkit", [1, 6, 18], clusters(2))


def test_elements_of_another_architecture_cannot_change(tmp_path: Path) -> None:
    save_model(tmp_path / "a.simkit", LennardJones(0.2, 2.4, 5.0, elements=(10, 18)))
    with pytest.raises(SimkitError, match="expected a mace or painn model to change the elements of, found lennard-j"):
        pretrained_potential(Pretrained(model="", elements="data"), tmp_path / "a.simkit", [18], clusters(2))
    with pytest.raises(SimkitError, match="contain Kr: a lennard-jones potential cannot be given others"):
        pretrained_potential(Pretrained(model=""), tmp_path / "a.simkit", [18, 36], clusters(2))


@pytest.mark.parametrize(("make", "head"), [(two_heads, None), (two_heads, "a"), (two_elements, None)])
def test_added_elements_get_the_reference_energies_that_the_data_ask_for(
    tmp_path: Path, make: Callable[[], Potential], head: str | None
) -> None:
    path, potential = tmp_path / "a.simkit", make()
    save_model(path, potential)
    chosen: Potential = potential if head is None else OneHead(potential, head)
    known = labelled_by(chosen, {10: 0.0, 18: 0.0})
    frames = [with_krypton(frame) for frame in known.frames]
    pretrained = Pretrained(model="", head=head, elements="add", reference_energies="keep")
    changed = pretrained_potential(pretrained, path, [10, 18, 36], MemoryDataset(frames), seed=1)
    assert changed.capabilities.elements == (10, 18, 36)
    for frame in known.frames:
        torch.testing.assert_close(evaluate(changed, frame.system).energy, frame.labels.energy, atol=1e-12, rtol=0)
    found, wanted = (
        sum(values)
        for values in zip(
            *[(evaluate(changed, f.system).energy.item(), f.labels.energy.item()) for f in frames], strict=True
        )
    )
    assert found == pytest.approx(wanted, abs=1e-9)
    again = pretrained_potential(pretrained, path, [10, 18, 36], MemoryDataset(frames), seed=1)
    assert torch.equal(evaluate(again, frames[0].system).energy, evaluate(changed, frames[0].system).energy)


def with_krypton(frame: Frame) -> Frame:
    """The frame with another last atom, and an energy that this lowers by 1000 eV."""
    numbers = frame.system.numbers.clone()
    numbers[-1] = 36
    assert frame.labels.energy is not None
    labels = replace(frame.labels, energy=frame.labels.energy - 1000)
    return replace(frame, system=replace(frame.system, numbers=numbers), labels=labels)


@pytest.mark.parametrize("make", [two_heads, two_elements])
def test_a_model_of_the_elements_of_the_data_alone(tmp_path: Path, make: Callable[[], Potential]) -> None:
    model = make()
    save_model(tmp_path / "a.simkit", model)
    pretrained = Pretrained(model="", elements="data", reference_energies="keep")
    smaller = pretrained_potential(pretrained, tmp_path / "a.simkit", [18], clusters(2))
    assert smaller.capabilities.elements == (18,)
    system = clusters(1)[0].system
    torch.testing.assert_close(evaluate(smaller, system).energy, evaluate(model, system).energy)


def test_replayed_frames_have_their_head_and_weight() -> None:
    mixed = with_replay(clusters(2), clusters(3, 1), 0, 0.1, two_heads())
    batch = collate(list(mixed), 3.0)
    assert batch.system.head is not None
    assert batch.system.head.tolist() == [1, 1, 0, 0, 0]  # 1 is the default
    assert batch.weight.tolist() == [1.0, 1.0, 0.1, 0.1, 0.1]
    assert [frame.system.head for frame in with_replay(clusters(1), clusters(1), None, 0.1, two_heads())] == [None] * 2
