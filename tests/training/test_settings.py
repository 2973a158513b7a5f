"""Settings that depend on one another."""

import pytest
from pydantic import ValidationError

from simkit.potentials.catalogue import build
from simkit.potentials.mace import MACE
from simkit.training.architectures import MaceArchitecture, PainnArchitecture
from simkit.training.settings import LossSettings, StageTwo, TrainingSettings


def test_stage_two_goes_on_training_the_stress() -> None:
    loss = LossSettings(energy=1, forces=10, stress=5)
    settings = TrainingSettings(loss=loss, stage_two=StageTwo(start_epoch=10))
    assert settings.weights == [(1, 10, 5), (1000, 100, 5)]
    without = TrainingSettings(loss=loss, stage_two=StageTwo(start_epoch=10, stress=0))
    assert without.weights[1] == (1000, 100, 0)
    assert TrainingSettings(loss=loss).weights == [(1, 10, 5)]


def test_stage_two_needs_a_weight() -> None:
    with pytest.raises(ValidationError, match="a positive weight of energy, forces or stress in stage_two"):
        TrainingSettings(stage_two=StageTwo(start_epoch=10, energy=0, forces=0))
    only_stress = StageTwo(start_epoch=10, energy=0, forces=0)
    assert TrainingSettings(loss=LossSettings(stress=1), stage_two=only_stress).weights[1] == (0, 0, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_ell": 0}, "go beyond max_ell=0"),
        ({"hidden_irreps": "4x1o"}, "natural parity"),
        ({"readout_mlp": "16"}, "natural parity"),
        ({"correlation": [3, 2, 1]}, "one correlation order for each of 2 layers"),
        ({"edge_irreps": "4x0e+4x1o+4x2e"}, "go beyond hidden_irreps"),
        ({"interaction": "residual_nonlinear"}, "apply_cutoff=False"),
    ],
)
def test_a_mace_that_cannot_be_built_is_refused_with_its_settings(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MaceArchitecture(**wrong)


@pytest.mark.parametrize("architecture", [MaceArchitecture, PainnArchitecture])
def test_every_setting_is_described(architecture: type[MaceArchitecture | PainnArchitecture]) -> None:
    nameless = [name for name, field in architecture.model_fields.items() if not field.description]
    assert nameless == ["kind"]


def test_a_mace_with_other_products_in_each_layer() -> None:
    settings = MaceArchitecture(hidden_irreps="2x0e+2x1o", max_ell=1, correlation=[3, 2], edge_irreps="3x0e")
    arguments = {"elements": (1,), **settings.config()}
    model = build({"kind": "mace", "config": arguments})
    assert isinstance(model, MACE)
    assert model.config()["correlation"] == [3, 2]
    assert [product.symmetric_contractions.correlation for product in model.products] == [3, 2]
    assert model.interactions[1].convolution.channels == 3


def test_odd_channels_of_painn_are_refused_with_its_settings() -> None:
    with pytest.raises(ValidationError, match="multiple of 2"):
        PainnArchitecture(channels=5)
