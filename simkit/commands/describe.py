"""What a model, a data file or a folder of results holds, in words and tables."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simkit.commands.calibrate import print_judgement
from simkit.commands.facts import print_errors, print_facts, print_findings
from simkit.commands.failures import require_file
from simkit.errors import DataError, SimkitError
from simkit.training.sources import ReadingSettings

if TYPE_CHECKING:
    from simkit.uncertainty.base import UncertainPotential

MODEL_SUFFIXES = (".simkit", ".model", ".safetensors", ".pt", ".pth")
TRAINING = ("training_frames", "validation_frames", "test_frames", "epochs", "best_epoch", "ended_by")
"""What people want to know of how a model was trained."""


def describe(path: Path, as_json: bool, cutoff: float | None, reading: ReadingSettings) -> None:
    """Print what there is to know about a file or folder.

    Raises:
        SimkitError: it does not exist or is none of model, data and results.
    """
    require_file(path, "file")
    if path.is_dir() and any((path / name).exists() for name in ("result.json", "step.json")):
        title, facts = f"results in {path}", _result_facts(path)
    elif path.is_dir() and (path / "index.json").exists():
        title, facts = f"workflow {path.name}", _workflow_facts(path)
    elif path.suffix in (".yaml", ".yml"):
        raise SimkitError(f"{path} is a settings file: simkit run {path} --dry-run shows what it would do")
    elif path.is_file() and path.suffix in MODEL_SUFFIXES:
        title, facts = f"model {path}", _model_facts(path)
    else:
        title, facts = f"data {path}", _data_facts(path, cutoff, reading)
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    elif "file_format" in facts:
        _print_model(title, facts)
    else:
        findings = facts.pop("audit", None)
        judgement = facts["summary"] if facts.get("kind") == "calibrate" and "summary" in facts else None
        print_facts(title, facts if judgement is None else facts | {"summary": {"warnings": judgement["warnings"]}})
        if judgement is not None:
            print_judgement(judgement)
        if findings is not None:
            print_findings(findings["findings"])


def _print_model(title: str, facts: dict[str, Any]) -> None:
    """What people want to know of a model, on one screen; --json prints everything."""
    provenance = facts.get("provenance", {})
    uncertainty = facts.get("uncertainty", {})
    provenance = provenance.get("model") or provenance  # of what a calibration has wrapped
    training = provenance.get("training_summary", {})
    architecture = {key: value for key, value in provenance.get("architecture", {}).items() if key != "kind"}
    names = ("elements", "cutoff_ang", "interaction_range_ang", "forces", "parameters", "dtype", "heads")
    brief = {"kind": facts["kind"]} | {name: facts[name] for name in names if name in facts}
    brief |= {
        "architecture": ", ".join(f"{key} {_words(value)}" for key, value in architecture.items() if value is not None),
        "trained on": ", ".join(provenance.get("training_data_sha256", {})),
        "training": ", ".join(f"{key.replace('_', ' ')} {training[key]}" for key in TRAINING if key in training),
        **{f"uncertainty.{name}": _words(value) for name, value in uncertainty.items() if value is not None},
        "file": f"{facts['file_format']}, {facts['bytes']} bytes",
        "created": facts.get("provenance", {}).get("created"),
        "citations": facts["citations"],
    }
    print_facts(title, brief)
    for part in ("validation", "test"):
        start = f"{part}_"
        found = facts.get("metrics") or {}
        errors = {name.removeprefix(start): value for name, value in found.items() if name.startswith(start)}
        if errors:
            print_errors(errors, f"errors, {part}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def print_result(folder: Path) -> None:
    """Print the summary of a finished step."""
    print_facts("", _result(folder)["summary"])


def _model_facts(path: Path) -> dict[str, Any]:
    from simkit.potentials.model_file import describe as describe_model
    from simkit.potentials.model_file import load_model
    from simkit.uncertainty.base import UncertainPotential

    facts = describe_model(path)
    potential = load_model(path)
    capabilities = potential.capabilities
    reach = capabilities.interaction_range
    return {
        "kind": facts["potential"]["kind"],
        "elements": facts["elements"],
        "cutoff_ang": potential.cutoff,
        "interaction_range_ang": reach if math.isfinite(reach) else None,
        "forces": "derivative of the energy" if capabilities.conservative else "predicted directly",
        "parameters": sum(parameter.numel() for parameter in potential.parameters()),
        "dtype": facts["dtype"],
        "heads": facts["potential"]["config"].get("heads"),
        **({"uncertainty": _uncertainty(potential, facts)} if isinstance(potential, UncertainPotential) else {}),
        **{key: value for key, value in facts.items() if key not in ("elements", "dtype", "citations")},
        "citations": facts["citations"],
    }


def _uncertainty(potential: UncertainPotential, facts: dict[str, Any]) -> dict[str, Any]:
    """The method, whether it is calibrated (not of intervals without deviations), and on what."""
    from simkit.uncertainty.base import Committee, UncertainPotential
    from simkit.uncertainty.calibrated import Calibrated
    from simkit.uncertainty.conformal_potential import Conformal

    conformal = isinstance(potential, Conformal)
    within = potential.potential if isinstance(potential, Conformal) else potential
    method = within.potential if isinstance(within, Calibrated) else within
    origin = potential.provenance
    doubt = "no: deviations may be wrong by any factor; see simkit calibrate"
    made = facts.get("provenance", {}).get("uncertainty", {})
    on = f"{made['calibration_frames']} frames of {made['calibration_groups']} groups" if made else None
    return {
        "method": origin.method,
        "calibrated": None if not isinstance(within, UncertainPotential) else "yes" if origin.calibrated else doubt,
        "map": within.calibration.config() if isinstance(within, Calibrated) else None,
        "calibrated_on": on,
        "conformal_intervals": "yes" if conformal else None,
        "members": method.n_members if isinstance(method, Committee) else None,
        "degrees_of_freedom": origin.dof if math.isfinite(origin.dof) else None,
        "cost": f"{origin.cost:g} times one model",
    }


def _data_facts(path: Path, cutoff: float | None, reading: ReadingSettings) -> dict[str, Any]:
    from simkit.datasets.audit import audit
    from simkit.datasets.statistics import compute_statistics
    from simkit.progress import Terminal
    from simkit.tasks.data import open_data

    dataset, progress = open_data(path, reading), Terminal()
    findings = audit(dataset, progress=progress).to_dict()
    try:
        facts = compute_statistics(dataset, cutoff, progress=progress).to_dict()
    except DataError as error:  # the audit names all frames that are at fault, the statistics only the first
        facts = {"frames": len(dataset), "statistics": f"none: {error}"}
    return {**facts, "audit": findings}


def _result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def _result_facts(folder: Path) -> dict[str, Any]:
    if not (folder / "result.json").exists():
        begun = json.loads((folder / "step.json").read_text(encoding="utf-8"))
        return {
            "step": begun["step"],
            "kind": begun["kind"],
            "state": "begun, not finished",
            "log": str(folder / "log.txt"),
        }
    result = _result(folder)
    kept = ("step", "kind", "summary", "settings", "seed", "inputs", "timings", "versions", "machine", "citations")
    return {"state": "finished", **{key: result[key] for key in kept}}


def _workflow_facts(folder: Path) -> dict[str, Any]:
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return {
        name: f"{'finished' if (folder / target / 'result.json').exists() else 'not finished'}, {folder / target}"
        for name, target in index.items()
    }
