"""Every import of simkit's own names resolves, also those inside functions; arrows between layers point one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = {
    "ase_border",
    "continuation",
    "csv_tables",
    "derivatives",
    "devices",
    "errors",
    "evaluation",
    "files",
    "floating",
    "graph",
    "growing",
    "neighbours",
    "potential",
    "progress",
    "pymatgen_border",
    "settings",
    "system",
    "units",
    "voigt",
}
LAYERS = {
    "potentials": 1,
    "solvers": 1,
    "datasets": 1,
    "calculator": 2,
    "training": 2,
    "dynamics": 2,
    "relaxation": 2,
    "analysis": 2,
    "uncertainty": 2,
    "tasks": 3,
    "workflow": 4,
}
LAYERS |= {"report": 4, "commands": 5, "cli": 6, "__main__": 6}
"""A module may import from its own and lower layers; the core is layer 0."""


def imports() -> Iterator[tuple[Path, str, str]]:
    """(file, module, name) of every ``from simkit... import name``."""
    for folder in ("simkit", "potentials", "solvers", "datasets"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if any(parent.is_symlink() for parent in path.parents):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "simkit":
                    for alias in node.names:
                        yield path.relative_to(ROOT), str(node.module), alias.name


def layer(parts: list[str]) -> int:
    return LAYERS.get(parts[0], 0) if parts else 0


def test_every_name_exists() -> None:
    missing = []
    for path, module, name in imports():
        if not hasattr(import_module(module), name):
            try:
                import_module(f"{module}.{name}")
            except ImportError:
                missing.append(f"{path}: from {module} import {name}")
    assert missing == []


def test_layers() -> None:
    wrong = []
    for path, module, name in imports():
        parts = list(path.with_suffix("").parts)
        own = layer(parts[1:] if parts[0] == "simkit" else parts)
        target = module.split(".")[1:] or [name]
        if parts != ["simkit", "__init__"] and layer(target) > own:
            wrong.append(f"{path} imports {module}.{name}")
    assert wrong == []


@pytest.mark.parametrize("module", sorted(path.stem for path in (ROOT / "simkit").glob("*.py")))
def test_every_module_of_the_package_has_a_layer(module: str) -> None:
    assert module in CORE or module in LAYERS or module == "__init__"
