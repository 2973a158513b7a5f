"""What a model, a data file or a folder of results holds, in words and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from simkit.commands.facts import print_facts, print_findings
from simkit.commands.failures import require_file
from simkit.errors import DataError, SimkitError

MODEL_SUFFIXES = (".simkit", ".model", ".safetensors", ".pt", ".pth")


def describe(path: Path, as_json: bool, cutoff: float | None) -> None:
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
        title, facts = f"data {path}", _data_facts(path, cutoff)
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        findings = facts.pop("audit", None)
        print_facts(title, _brief(facts))
        if findings is not None:
            print_findings(findings["findings"])


def _brief(facts: dict[str, Any]) -> dict[str, Any]:
    """Without what only programs want to know of a model; --json prints everything."""
    provenance = facts.get("provenance", {})
    kept = {key: value for key, value in provenance.items() if key not in ("training", "statistics", "versions")}
    brief = {key: value for key, value in facts.items() if key not in ("potential", "units", "numbers_stored")}
    return brief | ({"provenance": kept} if provenance else {})


def print_result(folder: Path) -> None:
    """Print the summary of a finished step."""
    print_facts("", _result(folder)["summary"])


def _model_facts(path: Path) -> dict[str, Any]:
    from simkit.potentials.model_file import describe as describe_model
    from simkit.potentials.model_file import load_model

    facts = describe_model(path)
    potential = load_model(path)
    return {
        "kind": facts["potential"]["kind"],
        "elements": facts["elements"],
        "cutoff_ang": potential.cutoff,
        "parameters": sum(parameter.numel() for parameter in potential.parameters()),
        "dtype": facts["dtype"],
        **{key: value for key, value in facts.items() if key not in ("elements", "dtype", "citations")},
        "citations": facts["citations"],
    }


def _data_facts(path: Path, cutoff: float | None) -> dict[str, Any]:
    from simkit.datasets.audit import audit
    from simkit.datasets.files import open_dataset
    from simkit.datasets.statistics import compute_statistics
    from simkit.progress import Terminal

    dataset, progress = open_dataset(path), Terminal()
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
