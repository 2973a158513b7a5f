"""What a model, a data file or a folder of results holds, in words and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from simkit.commands.failures import require_file
from simkit.commands.tables import print_table
from simkit.errors import SimkitError

ERROR_UNITS = {
    "energy": ("mev_per_atom", "meV/atom"),
    "forces": ("mev_per_ang", "meV/Å"),
    "stress": ("mev_per_ang3", "meV/Å³"),
}
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
        print_facts(title, facts)


def print_facts(title: str, facts: dict[str, Any]) -> None:
    """Print facts by name; lists and nested facts are spelt out."""
    rows = [(name.replace("_", " "), text) for name, text in _rows("", facts)]
    if title:
        print(title)
    print_table("", ("", ""), rows)


def print_errors(errors: dict[str, Any]) -> None:
    """Print MAE and RMSE of each property, of the forces on each element, and where the errors are worst."""
    rows = []
    for name, (key, unit) in ERROR_UNITS.items():
        if f"{name}_mae_{key}" in errors:
            rows.append((name, *_number_cells(errors[f"{name}_mae_{key}"], errors[f"{name}_rmse_{key}"]), unit))
    for symbol, values in errors.get("forces_by_element", {}).items():
        cells = _number_cells(values["mae_mev_per_ang"], values["rmse_mev_per_ang"])
        rows.append((f"  forces on {symbol}", *cells, "meV/Å"))
    print_table(
        f"{errors['frames']} frames, {errors['atoms']} atoms",
        ("", "MAE", "RMSE", "unit"),
        rows,
        numbers=("MAE", "RMSE"),
    )


def print_result(folder: Path) -> None:
    """Print the summary of a finished step."""
    print_facts("", _result(folder)["summary"])


def _number_cells(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}" for value in values)


def _rows(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in _rows(f"{prefix}.{key}".lstrip("."), inner)]
    if isinstance(value, list) and value and all(isinstance(one, str) and len(one) > 20 for one in value):
        return [(prefix, "\n".join(value))]
    if isinstance(value, list):
        text = ", ".join(_short(one) for one in value[:40])
        return [(prefix, text + (f", ... ({len(value)} in all)" if len(value) > 40 else ""))]
    return [] if value is None or value == "" else [(prefix, _short(value))]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(inner)}" for key, inner in value.items()) + "}"
    return str(value).replace("[", r"\[")


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
        **{key: value for key, value in facts.items() if key not in ("potential", "elements", "dtype", "citations")},
        "citations": facts["citations"],
    }


def _data_facts(path: Path, cutoff: float | None) -> dict[str, Any]:
    from simkit.datasets.audit import audit
    from simkit.datasets.files import open_dataset
    from simkit.datasets.statistics import compute_statistics
    from simkit.progress import Terminal

    dataset = open_dataset(path)
    facts = compute_statistics(dataset, cutoff, progress=Terminal()).to_dict()
    return {**facts, "audit": audit(dataset)}


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
