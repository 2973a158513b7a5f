"""Which methods apply to a model, found before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ase.calculators.calculator import BaseCalculator

from simkit.calculator import Calculator
from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.uncertainty.last_layer import probe

Level = Literal["black box", "parameters", "features"]

OF_RESULTS = ("committee", "conformal", "calibration", "stop rule", "reweighting")
OF_PARAMETERS = ("ensemble", "swag", "abnn", "posterior sampling", "sequential monte carlo")
OF_FEATURES = ("llpr", "shallow-ensemble", "mean-variance", "latent-distance")


@dataclass(frozen=True)
class Abilities:
    """What a model lets others do.

    Attributes:
        level: results alone, parameters too, or features that the energy is linear in.
        methods: that apply.
        reasons: why each other method does not, as a sentence.
    """

    level: Level
    methods: tuple[str, ...]
    reasons: Mapping[str, str]

    def require(self, method: str) -> None:
        """Check that a method applies.

        Raises:
            SimkitError: it does not, with the reason; or there is no such method.
        """
        if method in self.methods:
            return
        if method not in self.reasons:
            raise SimkitError(f"expected a method among {', '.join([*self.methods, *self.reasons])}; found {method!r}")
        raise SimkitError(self.reasons[method])


def abilities(model: Any) -> Abilities:
    """Look at an ASE calculator or a potential.

    Raises:
        SimkitError: it is neither.
    """
    if isinstance(model, Calculator):
        model = model.potential
    if isinstance(model, Potential):
        return _of_potential(model)
    if isinstance(model, BaseCalculator):
        return _of_calculator(model)
    raise SimkitError(
        f"expected an ASE calculator or a potential of simkit, found {type(model).__name__}: a module of torch becomes "
        "a potential by subclassing simkit.Potential, any other model a calculator by subclassing ASE's"
    )


def _of_calculator(calculator: BaseCalculator) -> Abilities:
    name = type(calculator).__name__
    reasons = {
        method: f"{method} does not apply to {name}: an ASE calculator shows its results, not its parameters. Make a "
        "committee of several calculators, or use conformal prediction"
        for method in OF_PARAMETERS
    }
    reasons |= {
        method: f"{method} does not apply to {name}: an ASE calculator shows its results, not the features of its last "
        "layer. Make a committee of several calculators, or use conformal prediction"
        for method in OF_FEATURES
    }
    if "forces" not in calculator.implemented_properties:
        missing = "gives no forces, which are what is calibrated. Use a calculator with forces"
        reasons |= {method: f"{method} does not apply to {name}: it {missing}" for method in OF_RESULTS}
    return _chosen("black box", reasons)


def _of_potential(potential: Potential) -> Abilities:
    kind = potential.kind
    reasons = {}
    if not any(True for _ in potential.parameters()):
        reasons = {
            method: f"{method} does not apply to this {kind} potential: it has no parameters to sample or train"
            for method in OF_PARAMETERS
        }
    if probe(potential).last_layer is None:
        reasons |= {
            method: f"{method} does not apply to this {kind} potential: it does not return the features in which its "
            "energy is linear (AtomicOutput.last_layer). Use an ensemble or conformal prediction"
            for method in OF_FEATURES
        }
    level: Level = "features" if not reasons else "parameters" if OF_PARAMETERS[0] not in reasons else "black box"
    return _chosen(level, reasons)


def _chosen(level: Level, reasons: Mapping[str, str]) -> Abilities:
    methods = tuple(name for name in (*OF_RESULTS, *OF_PARAMETERS, *OF_FEATURES) if name not in reasons)
    return Abilities(level, methods, reasons)
