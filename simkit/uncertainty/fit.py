"""Any method from its settings."""

from __future__ import annotations

from collections.abc import Sequence

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.progress import Progress
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.llpr import LLPR
from simkit.uncertainty.settings import EnsembleMethod, LastLayer, LLPRMethod, MethodSettings


def fit_method(
    settings: MethodSettings,
    models: Sequence[Potential],
    dataset: Dataset | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> UncertainPotential:
    """Give trained models an uncertainty.

    Args:
        settings: of the method.
        models: one, or the members of an ensemble.
        dataset: the frames that they were trained on, for methods that are fitted.
        seed: of random numbers.
        progress: where progress is shown.

    Raises:
        SimkitError: a number of models that the method cannot use, no training frames, or models that do not suit it.
    """
    if isinstance(settings, EnsembleMethod):
        ensemble = Ensemble(*models)
        ensemble.require_spread()
        return ensemble
    potential = _one(models, settings.kind)
    frames = _frames(dataset, settings.kind)
    if isinstance(settings, LLPRMethod):
        return LLPR.fit(
            potential, frames, terms=settings.terms, scales=_scales(settings), draws=settings.draws,
            exact=settings.exact, jitter=settings.jitter, seed=seed, progress=progress,
        )  # fmt: skip
    raise TypeError(f"no method of the kind {settings.kind}")


def _one(models: Sequence[Potential], kind: str) -> Potential:
    if len(models) != 1:
        raise SimkitError(f"the method {kind} takes one model, found {len(models)}: several are an ensemble")
    return models[0]


def _frames(dataset: Dataset | None, kind: str) -> Dataset:
    if dataset is None:
        raise SimkitError(
            f"the method {kind} is fitted to the frames that the model was trained on: give them (train: in a workflow "
            "file, --train on the command line)"
        )
    return dataset


def _scales(settings: LastLayer) -> dict[str, float] | None:
    given = {name: getattr(settings, f"{name}_scale") for name in ("energy", "forces", "stress")}
    known = {name: value for name, value in given.items() if value is not None}
    return known or None
