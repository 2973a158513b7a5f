"""Which step needs which: references between steps, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from simkit.errors import WorkflowError
from simkit.workflow.document import Keys, dotted, suggestion
from simkit.workflow.schema import Workflow
from simkit.workflow.step import Source, Step

ALWAYS = ("result.json", "log.txt")
"""Files that every finished step has."""


@dataclass(frozen=True)
class Reference:
    """A file that another step makes, or its whole folder if ``file`` is empty."""

    step: str
    file: str


def parse_reference(source: str) -> Reference | None:
    """The reference that an input's value is, or None if it is a path.

    Raises:
        WorkflowError: it starts with ``$`` but is no reference.
    """
    if not source.startswith("$"):
        return None
    match = re.fullmatch(r"\$([A-Za-z][A-Za-z0-9_-]*)(?:/(.+))?", source)
    if match is None:
        raise WorkflowError(f"expected a reference such as $step/file, found {source!r}")
    return Reference(match[1], match[2] or "")


def sources(step: Step) -> dict[Keys, Source]:
    """Values of the input fields of a step, wherever they stand in its settings."""
    return dict(_walk(step.model_dump(), ()))


def _walk(value: Any, keys: Keys) -> Iterator[tuple[Keys, Source]]:
    if isinstance(value, Source):
        yield keys, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, (*keys, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _walk(inner, (*keys, index))


def dependencies(workflow: Workflow) -> dict[str, frozenset[str]]:
    """Names of the steps that each step needs.

    Raises:
        WorkflowError: naming every reference to a step or file that does not exist.
    """
    needs, problems = {}, []
    for name, step in workflow.steps.items():
        found = set()
        for keys, source in sources(step).items():
            try:
                reference = parse_reference(source)
                if reference is not None:
                    _check(reference, workflow)
                    found.add(reference.step)
            except WorkflowError as error:
                full = (*workflow.keys(name), *keys)
                problems.append(f"{workflow.document.where(full)}: {dotted(full)}: {error}")
        needs[name] = frozenset(found)
    if problems:
        raise WorkflowError("\n".join(problems))
    return needs


def ordered(needs: Mapping[str, frozenset[str]]) -> list[str]:
    """Names of the steps, each after those that it needs.

    Raises:
        WorkflowError: steps that need each other in a circle.
    """
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise WorkflowError(f"steps need each other in a circle: {circle}; remove one of the references") from error


def ancestors(needs: Mapping[str, frozenset[str]], name: str) -> set[str]:
    """A step and all that it needs, directly or not."""
    found = {name}
    for other in needs[name]:
        found |= ancestors(needs, other)
    return found


def descendants(needs: Mapping[str, frozenset[str]], name: str) -> set[str]:
    """A step and all that need it, directly or not."""
    return {other for other in needs if name in ancestors(needs, other)}


def _check(reference: Reference, workflow: Workflow) -> None:
    if reference.step not in workflow.steps:
        raise WorkflowError(f"no step is called '{reference.step}'; {suggestion(reference.step, [*workflow.steps])}")
    makes = workflow.steps[reference.step].produces
    if reference.file and reference.file not in (*makes, *ALWAYS):
        raise WorkflowError(
            f"the step '{reference.step}' makes no file '{reference.file}'; {suggestion(reference.file, makes)}"
        )
