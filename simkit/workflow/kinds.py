"""The kinds of steps that workflow files can name, and where their classes are."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from simkit.workflow.step import Step

Kinds = Mapping[str, str]
"""Kind -> ``"module:Class"``; a class is imported when a file uses its kind."""

KINDS: Kinds = {
    "label": "simkit.workflow.steps.label:Label",
    "train": "simkit.workflow.steps.train:Train",
    "ensemble": "simkit.workflow.steps.ensemble:TrainEnsemble",
    "calibrate": "simkit.workflow.steps.calibrate:Calibrate",
    "active_learning": "simkit.workflow.steps.active_learning:ActiveLearning",
    "evaluate": "simkit.workflow.steps.evaluate:Evaluate",
    "predict": "simkit.workflow.steps.predict:Predict",
    "relax": "simkit.workflow.steps.relax:Relax",
    "md": "simkit.workflow.steps.md:MolecularDynamics",
    "rdf": "simkit.workflow.steps.trajectory_analysis:RadialDistribution",
    "diffusion": "simkit.workflow.steps.trajectory_analysis:Diffusion",
    "spectrum": "simkit.workflow.steps.trajectory_analysis:Spectrum",
    "averages": "simkit.workflow.steps.averages:Averages",
    "equation_of_state": "simkit.workflow.steps.crystals:EquationOfState",
    "elastic": "simkit.workflow.steps.crystals:Elastic",
    "phonons": "simkit.workflow.steps.phonons:Phonons",
    "neb": "simkit.workflow.steps.neb:NudgedElasticBand",
    "report": "simkit.workflow.steps.report:WriteReport",
}


def load_class(target: str) -> type[Step]:
    """The class that ``"module:Class"`` names."""
    module, _, name = target.partition(":")
    step_class = getattr(import_module(module), name)
    if not (isinstance(step_class, type) and issubclass(step_class, Step)):
        raise TypeError(f"expected {target} to be a Step class, found {step_class!r}")
    return step_class
