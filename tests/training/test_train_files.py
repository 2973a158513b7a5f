"""From data files to a model file, and the step that workflow files name."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.neighborlist import neighbor_list
from pydantic import ValidationError

from simkit.datasets.extxyz import write_extxyz
from simkit.errors import DataError, ModelFileError
from simkit.evaluation import evaluate
from simkit.potential import symbols
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.mace import MACE
from simkit.potentials.model_file import load_model, read_header, save_model
from simkit.progress import Silent
from simkit.system import System
from simkit.tasks.train import train_files
from simkit.training.architectures import CustomArchitecture, Normalisation, PainnArchitecture, Pretrained
from simkit.training.settings import TrainingSettings
from simkit.training.sources import ReplaySettings, SplitSettings
from simkit.workflow.step import Context
from simkit.workflow.steps.train import Train
from tests.training.examples import clusters, without

TINY = PainnArchitecture(channels=4, layers=1, n_radial=4)
SHORT = TrainingSettings(max_epochs=2, dtype="float64")
SPLIT = SplitSettings(validation=3, test=2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_extxyz(tmp_path / "frames.xyz", clusters(12).frames)
    return tmp_path / "frames.xyz"


def add_isolated_atom(path: Path, energy: float) -> None:
    atom = Atoms("Ar")
    atom.calc = SinglePointCalculator(atom, energy=energy)
    write(path, atom, append=True, format="extxyz")


def test_a_whole_training(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "run"
    summary = train_files(data, folder, architecture=TINY, training=SHORT, split=SPLIT)
    assert (summary["training_frames"], summary["validation_frames"], summary["test_frames"]) == (7, 3, 2)
    header = read_header(folder / "model.simkit")
    assert header["metrics"]["test_forces_mae_mev_per_ang"] == summary["test_forces_mae_mev_per_ang"]
    provenance = header["provenance"]
    assert provenance["training"]["max_epochs"] == 2
    assert set(provenance["training_data_sha256"]) == {"frames.xyz"}
    assert "torch" in provenance["versions"]
    split = json.loads((folder / "split.json").read_text())
    assert sorted(split["train"] + split["validation"] + split["test"]) == list(range(12))
    assert len(read(folder / "validation.xyz", index=":")) == 3


def test_the_model_file_has_the_errors_that_are_reported(tmp_path: Path, data: Path) -> None:
    summary = train_files(data, tmp_path / "run", architecture=TINY, training=SHORT, split=SPLIT)
    potential = load_model(tmp_path / "run" / "model.simkit")
    total = count = 0.0
    for frame in read(tmp_path / "run" / "test.xyz", index=":"):
        error = evaluate(potential, System.from_ase(frame)).forces.numpy() - frame.get_forces()
        total, count = total + abs(error).sum(), count + error.size
    assert summary["test_forces_mae_mev_per_ang"] == pytest.approx(1e3 * total / count, rel=1e-6)


def test_normalisation_comes_from_the_training_frames(tmp_path: Path, data: Path) -> None:
    add_isolated_atom(data, -4.0)
    summary = train_files(data, tmp_path / "run", architecture=TINY, training=SHORT, split=SPLIT)
    assert summary["reference_source"] == {"Ar": "isolated atom"}
    assert summary["training_frames"] == 7
    config = read_header(tmp_path / "run" / "model.simkit")["potential"]["config"]
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    frames = read(data, index=":")
    training = [frames[index] for index in split["train"]]
    assert all(len(frame) > 1 for frame in training)
    forces = torch.cat([torch.as_tensor(frame.get_forces()).ravel() for frame in training])
    per_atom = torch.tensor([frame.get_potential_energy() / len(frame) + 4.0 for frame in training])
    potential = load_model(tmp_path / "run" / "model.simkit")
    assert config["reference_energies"] == [[-4.0]]
    torch.testing.assert_close(potential.scale_shift.scale[0], forces.square().mean().sqrt())
    torch.testing.assert_close(potential.scale_shift.shift[0], per_atom.mean())
    neighbours = np.concatenate([np.bincount(neighbor_list("i", frame, 5.0)) for frame in training])
    assert config["average_neighbours"] == pytest.approx(neighbours.mean())


def test_given_numbers_win(tmp_path: Path, data: Path) -> None:
    add_isolated_atom(data, -4.0)
    train_files(
        data,
        tmp_path / "run",
        architecture=TINY,
        training=SHORT,
        normalisation=Normalisation(scale=2.0, shift=0.0),
        reference_energies={"Ar": -7.0},
    )
    potential = load_model(tmp_path / "run" / "model.simkit")
    assert (float(potential.scale_shift.scale), float(potential.scale_shift.shift)) == (2.0, 0.0)
    assert potential.reference.values.tolist() == [[-7.0]]


def test_validation_and_test_files(tmp_path: Path, data: Path) -> None:
    write_extxyz(tmp_path / "other.xyz", clusters(4, seed=3).frames)
    summary = train_files(
        data,
        tmp_path / "run",
        architecture=TINY,
        training=SHORT,
        validation=tmp_path / "other.xyz",
        test=tmp_path / "other.xyz",
    )
    assert (summary["training_frames"], summary["validation_frames"], summary["test_frames"]) == (12, 4, 4)
    assert summary["test_energy_mae_mev_per_atom"] == summary["validation_energy_mae_mev_per_atom"]


def test_the_step_trains_and_fine_tunes(tmp_path: Path, data: Path) -> None:
    first = Train(
        data="frames.xyz", architecture={"kind": "painn", "channels": 4, "layers": 1}, training={"max_epochs": 1}
    )
    inputs = {"frames.xyz": data, "$first/model.simkit": tmp_path / "first" / "model.simkit"}
    first.run(Context(tmp_path / "first", inputs, 0, "cpu", Silent()))
    assert all((tmp_path / "first" / name).exists() for name in first.produces)
    assert "test.xyz" not in first.produces
    assert not (tmp_path / "first" / "test.xyz").exists()
    for with_test in ({"split": {"test": 2}}, {"test": "frames.xyz"}):
        assert "test.xyz" in Train(data="frames.xyz", **with_test).produces
    second = Train(
        data="frames.xyz",
        architecture={"kind": "pretrained", "model": "$first/model.simkit"},
        replay={"data": "frames.xyz", "weight": 0.5},
        training={"max_epochs": 1, "frozen": ["messages.*"], "optimiser": {"learning_rate": 1e-3}},
    )
    second.run(Context(tmp_path / "second", inputs, 0, "cpu", Silent()))
    tensors = [load_model(tmp_path / name / "model.simkit").state_dict() for name in ("first", "second")]
    changed = {name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])}
    assert changed
    assert not any(name.startswith("messages.") for name in changed)


def test_any_kind_of_potential_is_trained(tmp_path: Path, data: Path) -> None:
    start = {"epsilon": 0.2, "sigma": 2.3, "switch_on": 4.5}  # the truth but for the depth, 0.25
    custom = CustomArchitecture(potential="lennard-jones", arguments=start)
    summary = train_files(data, tmp_path / "run", architecture=custom, training=SHORT, split=SPLIT)
    assert summary["citations"] == list(LennardJones(0.2, 2.3, 5.0).capabilities.citations)
    potential = load_model(tmp_path / "run" / "model.simkit")
    assert potential.capabilities.elements == (18,)
    assert 0.205 < potential.epsilon.item() < 0.295
    misspelt = CustomArchitecture(potential="lennard-jones", arguments={**start, "sgima": 1.0})
    with pytest.raises(ModelFileError, match=r"'lennard-jones' potential cannot be built .*sgima"):
        train_files(data, tmp_path / "other", architecture=misspelt, training=SHORT, split=SPLIT)
    with pytest.raises(ModelFileError, match="no kind of potential called 'lennard'"):
        train_files(data, tmp_path / "other", architecture=CustomArchitecture(potential="lennard"), training=SHORT)


@pytest.mark.parametrize("head", [None, "a"])
@pytest.mark.parametrize(
    ("how", "known", "expected"), [("add", (10, 36), (10, 18, 36)), ("data", (10, 18), (18,))], ids=["add", "data"]
)
def test_fine_tuning_with_other_elements(
    tmp_path: Path, data: Path, head: str | None, how: str, known: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """A model with two levels of theory, for other noble gases, becomes one that knows argon."""
    model = MACE(
        elements=known, heads=["a", "b"], hidden_irreps="2x0e", max_ell=0, correlation=1, layers=1, radial_mlp=[4]
    )
    save_model(tmp_path / "old.simkit", model)
    pretrained = Pretrained.model_validate({"model": str(tmp_path / "old.simkit"), "head": head, "elements": how})
    summary = train_files(data, tmp_path / "run", architecture=pretrained, training=SHORT, split=SPLIT)
    potential = load_model(tmp_path / "run" / "model.simkit")
    assert (potential.capabilities.elements, summary["elements"]) == (expected, symbols(expected))
    frames = read(tmp_path / "run" / "validation.xyz", index=":")
    errors = [evaluate(potential, System.from_ase(f)).energy.item() - f.get_potential_energy() for f in frames]
    per_atom = [1e3 * abs(error) / len(frame) for error, frame in zip(errors, frames, strict=True)]
    assert sum(per_atom) / len(per_atom) == pytest.approx(summary["validation_energy_mae_mev_per_atom"])


class TestErrors:
    def test_test_file_and_test_split(self, tmp_path: Path, data: Path) -> None:
        with pytest.raises(DataError, match=r"either a test file or split\.test, found both"):
            train_files(data, tmp_path / "run", test=data, split=SPLIT)

    def test_nothing_to_validate_on(self, tmp_path: Path, data: Path) -> None:
        with pytest.raises(DataError, match="of 12 frames 12 are left to train and 0 to validate on"):
            train_files(data, tmp_path / "run", split=SplitSettings(validation=0))

    def test_nothing_to_test_on(self, tmp_path: Path, data: Path) -> None:
        with pytest.raises(DataError, match=r"split\.test 0\.01 of 12 frames are none"):
            train_files(data, tmp_path / "run", split=SplitSettings(validation=2, test=0.01))

    def test_a_file_of_isolated_atoms_to_test_on(self, tmp_path: Path, data: Path) -> None:
        add_isolated_atom(tmp_path / "atoms.xyz", -4.0)
        with pytest.raises(DataError, match="found isolated atoms only"):
            train_files(data, tmp_path / "run", test=tmp_path / "atoms.xyz")

    def test_no_forces_for_the_scale(self, tmp_path: Path, data: Path) -> None:
        write_extxyz(data, [without(frame, "forces") for frame in clusters(12).frames])
        with pytest.raises(DataError, match=r"set normalisation\.scale to energy_std or a number in eV"):
            train_files(data, tmp_path / "run", architecture=TINY, training=SHORT)

    def test_two_heads_for_replay(self, tmp_path: Path, data: Path) -> None:
        with pytest.raises(DataError, match=r"architecture\.head fixes every frame"):
            train_files(
                data,
                tmp_path / "run",
                architecture=Pretrained(model="a.model", head="a"),
                replay=ReplaySettings(data="old.xyz", head=1),
            )

    def test_energies_and_scale_of_a_pretrained_model(self, tmp_path: Path, data: Path) -> None:
        for refused in ({"reference_energies": {"Ar": -1.0}}, {"normalisation": Normalisation(scale=2.0)}):
            with pytest.raises(DataError, match="a pretrained one has its own: remove them"):
                train_files(data, tmp_path / "run", architecture=Pretrained(model="a.model"), **refused)

    def test_unknown_symbol(self, tmp_path: Path, data: Path) -> None:
        with pytest.raises(DataError, match="expected chemical symbols such as H, found 'ar'"):
            train_files(data, tmp_path / "run", reference_energies={"ar": 1.0})

    def test_misspelt_key(self) -> None:
        with pytest.raises(ValidationError, match="cutof"):
            Train(data="frames.xyz", architecture={"kind": "mace", "cutof": 5.0})
