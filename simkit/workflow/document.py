"""YAML files that know the line of each of their keys."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from simkit.errors import WorkflowError

Keys = tuple[str | int, ...]
"""Where a value stands in a document: keys of mappings and indices of lists, from the top."""
MAX_VALUES = 100_000


@dataclass(frozen=True)
class Document:
    """A YAML 1.2 mapping and where each of its values was written.

    Attributes:
        path: the file.
        data: plain dictionaries, lists, strings, numbers, booleans and None.
        places: for each value, ``line 12`` or the ``--set`` option that gave it.
    """

    path: Path
    data: dict[str, Any]
    places: Mapping[Keys, str]

    def where(self, keys: Keys) -> str:
        """The file and the line of a value or, if it is not there, of the closest mapping that should hold it."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.places:
                return f"{self.path}, {self.places[keys[:length]]}"
        return str(self.path)


def read_document(path: str | Path) -> Document:
    """Read a YAML 1.2 file: ``1e-3`` is a number, ``no`` a string, a key that stands twice an error.

    Raises:
        WorkflowError: the file is missing, is no YAML, or its top level is no mapping.
    """
    path = Path(path)
    text = _read_text(path)
    try:
        node = _loader().compose(text)
        _require_modest(path, node)
        data = _loader().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise WorkflowError(f"{path}{place}: no valid YAML: {error.problem or error.context}") from error
    except RecursionError as error:
        raise WorkflowError(f"{path}: nested too deeply for a settings file") from error
    except (YAMLError, ValueError) as error:
        raise WorkflowError(f"{path}: no valid YAML: {error}") from error
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise WorkflowError(f"{path}: expected keys and values at the top level, found {found}")
    places: dict[Keys, str] = {}
    _collect_places(node, (), places, set())
    return Document(path, data, places)


def parse_value(text: str) -> Any:
    """A value as YAML 1.2 reads it."""
    try:
        return _loader().load(text)
    except YAMLError as error:
        raise WorkflowError(f"expected a YAML value, found {text!r}: quote it if it is a text") from error


def with_setting(document: Document, setting: str) -> Document:
    """The document with one value replaced or added, from ``path=value`` with dots in the path.

    Whether the schema knows the path is checked later, when the document is validated.

    Raises:
        WorkflowError: no ``=``, or a path that leads through a value that is neither a mapping nor a list.
    """
    name, equals, text = setting.partition("=")
    words = name.strip().split(".")
    if not equals or not all(words):
        raise WorkflowError(f"expected --set path=value, e.g. --set seed=2, found {setting!r}")
    data = copy.deepcopy(document.data)
    keys: list[str | int] = []
    parent: Any = data
    for index, word in enumerate(words):
        key = _key(parent, word, ".".join(words[:index]), setting)
        keys.append(key)
        if index == len(words) - 1:
            parent[key] = parse_value(text)
            break
        if isinstance(parent, dict) and parent.get(key) is None:
            parent[key] = {}
        parent = parent[key]
    return replace(document, data=data, places={**document.places, tuple(keys): f"--set {name.strip()}"})


def suggestion(word: str, candidates: Sequence[str]) -> str:
    """A hint for a misspelt word: the nearest candidate, or all of them."""
    nearest = get_close_matches(word, candidates, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean '{nearest[0]}'?"
    if not candidates:
        return "none are allowed here"
    return f"expected one of {', '.join(sorted(candidates))}"


def dotted(keys: Keys) -> str:
    """``steps.frames.data[0]`` for a sequence of keys."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")


def _loader() -> YAML:
    return YAML(typ="safe", pure=True)


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise WorkflowError(f"expected a YAML file, found the folder {path}")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise WorkflowError(f"{path}: no such file{_neighbouring(path)}") from error
    except UnicodeDecodeError as error:
        raise WorkflowError(f"{path}: expected a YAML file in UTF-8, found other bytes at {error.start}") from error


def _neighbouring(path: Path) -> str:
    folder = path.parent
    names = sorted(p.name for p in folder.glob("*.y*ml")) if folder.is_dir() else []
    nearest = get_close_matches(path.name, names, n=1)
    return f"; did you mean {folder / nearest[0]}?" if nearest else ""


def _require_modest(path: Path, top: Node | None) -> None:
    """Refuse aliases that make a small file huge when they are written out, or that hold themselves."""
    sizes: dict[int, int] = {}

    def size(node: Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = MAX_VALUES  # until it is known: met again only if the node holds itself
            parts = [value for _, value in node.value] if isinstance(node, MappingNode) else node.value
            sizes[id(node)] = 1 if isinstance(parts, str) else 1 + sum(size(part) for part in parts)
        return sizes[id(node)]

    if top is not None and size(top) >= MAX_VALUES:
        raise WorkflowError(
            f"{path}: expected fewer than {MAX_VALUES} values, found more, or an alias (*name) within its own anchor "
            "(&name): write out what the aliases stand for"
        )


def _collect_places(node: Node, keys: Keys, places: dict[Keys, str], open_nodes: set[int]) -> None:
    """Lines of all values; a node that is reached again by an alias keeps its first place."""
    if id(node) in open_nodes:
        return
    open_nodes.add(id(node))
    if isinstance(node, MappingNode):
        for key_node, value in node.value:
            inner = (*keys, key_node.value)
            places[inner] = f"line {key_node.start_mark.line + 1}"
            _collect_places(value, inner, places, open_nodes)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            places[(*keys, index)] = f"line {value.start_mark.line + 1}"
            _collect_places(value, (*keys, index), places, open_nodes)


def _key(parent: Any, word: str, reached: str, setting: str) -> str | int:
    if isinstance(parent, dict):
        return word
    if isinstance(parent, list):
        if word.isdigit() and int(word) < len(parent):
            return int(word)
        raise WorkflowError(f"--set {setting}: {reached} is a list, expected an index from 0 to {len(parent) - 1}")
    raise WorkflowError(f"--set {setting}: {reached} is {parent!r}, which has no keys")
