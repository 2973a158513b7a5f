"""Every method through its settings, as small as it can be: the number of members and the model's own prediction."""

import pytest
import torch

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.uncertainty.base import Committee
from simkit.uncertainty.fit import fit_method
from simkit.uncertainty.settings import (
    AbnnMethod,
    EnsembleMethod,
    LaplaceMethod,
    LatentDistanceMethod,
    LLPRMethod,
    PosteriorOptions,
    SequentialMethod,
    SgMcmcMethod,
    SparseMethod,
    SwagMethod,
)
from tests.uncertainty.examples import labelled_water, painn

SCALES = PosteriorOptions(scales="fixed", energy_scale=0.1, forces_scale=1.0, batch_size=2)
AROUND_THE_MODEL = {
    "llpr": LLPRMethod(draws=3, energy_scale=0.1, forces_scale=1.0),
    "laplace": LaplaceMethod(
        parameters=("*readout*",), prior=1.0, draws=3, energy_scale=0.1, forces_scale=1.0, terms=("energy",)
    ),
    "latent-distance": LatentDistanceMethod(),
}
MEMBERS = {
    "sg-mcmc": (SgMcmcMethod(step=1e-6, steps=6, kept=2, posterior=SCALES), 2),
    "swag": (SwagMethod(epochs=4, draws=3, rank=2, step=1e-6, posterior=SCALES), 3),
    "abnn": (AbnnMethod(copies=1, draws=2, epochs=0, layers=("*readout*",), posterior=SCALES), 2),
    "sequential": (SequentialMethod(particles=4, members=2, moves=1, batch_size=3, posterior=SCALES), 2),
    "sparse-variational": (SparseMethod(steps=2, draws=2, posterior=SCALES), 2),
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return painn(channels=4, layers=1).requires_grad_(False)


@pytest.fixture
def frames():
    return labelled_water(4)


@pytest.mark.parametrize("kind", AROUND_THE_MODEL)
def test_methods_that_leave_the_prediction(kind, model, frames, tmp_path):
    found = fit_method(AROUND_THE_MODEL[kind], [model], frames, folder=tmp_path)
    assert found.kind == kind
    system = frames[0].system
    torch.testing.assert_close(found.predict(system).energy, model_energy(model, system))


@pytest.mark.filterwarnings("ignore::simkit.errors.SimkitWarning")  # one short chain, which is said
@pytest.mark.parametrize("kind", MEMBERS)
def test_methods_that_make_members(kind, model, frames, tmp_path):
    settings, count = MEMBERS[kind]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = fit_method(settings, [model], frames, folder=tmp_path)
    assert isinstance(found, Committee)
    assert found.n_members == count
    assert float(found.predict(frames[0].system).energy_std) > 0
    if kind not in ("sg-mcmc", "swag"):  # these go on with the potentials that they are given
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_missing_is_said(model, frames, tmp_path):
    with pytest.raises(SimkitError, match="at least two members"):
        fit_method(EnsembleMethod(), [model], folder=tmp_path)
    with pytest.raises(SimkitError, match="takes one model, found 2"):
        fit_method(LLPRMethod(), [model, model], frames, folder=tmp_path)
    with pytest.raises(SimkitError, match="fitted to the frames that the model was trained on"):
        fit_method(LLPRMethod(), [model], folder=tmp_path)


def model_energy(model, system):
    return evaluate(model, system, outputs=("energy",)).energy
