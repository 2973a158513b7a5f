"""Settings that files have are those of the methods."""

import inspect
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

import simkit.uncertainty
from simkit.uncertainty import fit
from simkit.uncertainty.abnn import AbnnSettings
from simkit.uncertainty.calibration_maps import MapKind
from simkit.uncertainty.conformal import Reduction
from simkit.uncertainty.conformal_scores import Unit
from simkit.uncertainty.laplace import Laplace
from simkit.uncertainty.latent_distance import Density, LatentDistance, Space
from simkit.uncertainty.llpr import LLPR
from simkit.uncertainty.posterior import PosteriorSettings
from simkit.uncertainty.potential_chain import SamplingSettings
from simkit.uncertainty.sequential import SequentialSettings
from simkit.uncertainty.settings import (
    AbnnMethod,
    ConformalSettings,
    LaplaceMethod,
    LatentDistanceMethod,
    LLPRMethod,
    MapName,
    MethodSettings,
    PosteriorOptions,
    SequentialMethod,
    SgMcmcMethod,
    SparseMethod,
    SwagMethod,
)
from simkit.uncertainty.sparse_variational import SparseSettings
from simkit.uncertainty.swag import SwagSettings


def test_defaults_are_those_of_the_methods():
    assert fit.swag_settings(SwagMethod()) == SwagSettings()
    assert fit.abnn_settings(AbnnMethod()) == AbnnSettings()
    assert fit.sequential_settings(SequentialMethod()) == SequentialSettings()
    assert fit.sampling_settings(SgMcmcMethod()) == SamplingSettings()
    assert fit.sparse_settings(SparseMethod()) == SparseSettings()


def test_everything_that_is_set_reaches_the_method():
    posterior = PosteriorOptions(
        labels=("forces",), forces_scale=0.1, prior_std=2.0, batch_size=3, control_variates=True
    )
    found = fit.sampling_settings(
        SgMcmcMethod(sampler="psgld", step=1e-5, steps=50, burn_in=0.2, kept=4, temperature=0.1, posterior=posterior)
    )
    assert found.posterior == PosteriorSettings(**posterior.model_dump())
    assert (found.sampler.kind, found.sampler.step) == ("psgld", 1e-5)
    assert (found.chain.steps, found.chain.burn_in, found.chain.kept, found.chain.temperature) == (50, 0.2, 4, 0.1)


def test_names_are_those_of_the_methods():
    assert get_args(MapName) == get_args(MapKind)
    assert get_args(LatentDistanceMethod.model_fields["density"].annotation) == get_args(Density)
    assert get_args(LatentDistanceMethod.model_fields["space"].annotation) == get_args(Space)
    assert get_args(ConformalSettings.model_fields["over_atoms"].annotation) == get_args(Reduction)
    assert get_args(ConformalSettings.model_fields["unit"].annotation) == get_args(Unit)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValidationError, match="'ensemble', 'llpr', 'laplace', 'latent-distance'"):
        TypeAdapter(MethodSettings).validate_python({"kind": "dropout"})


def test_public_names_are_there():
    found = {name: getattr(simkit.uncertainty, name) for name in simkit.uncertainty.__all__}
    assert all(one.__module__ == simkit.uncertainty._HOMES[name] for name, one in found.items())
    with pytest.raises(AttributeError, match="no attribute 'Dropout'"):
        _ = simkit.uncertainty.Dropout


@pytest.mark.parametrize(
    ("settings", "method"), [(LLPRMethod(), LLPR), (LaplaceMethod(), Laplace), (LatentDistanceMethod(), LatentDistance)]
)
def test_defaults_of_fits_are_those_of_the_classes(settings, method):
    of_fit = {name: one.default for name, one in inspect.signature(method.fit).parameters.items()}
    own = settings.model_dump(exclude={"kind"})
    assert {name: value for name, value in own.items() if name in of_fit and value != of_fit[name]} == {}
    assert {name for name in own if not name.endswith("_scale")} <= of_fit.keys()
