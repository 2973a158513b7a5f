"""Workflow files: read, check, describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, StringConstraints, create_model

from simkit.errors import WorkflowError
from simkit.settings import Settings
from simkit.workflow.document import Document, Keys, read_document, suggestion, with_setting
from simkit.workflow.kinds import KINDS, Kinds, load_class
from simkit.workflow.messages import validate
from simkit.workflow.step import Step

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60)]


class Outline(Settings):
    """The top level of a workflow file."""

    name: Name = Field(description="Name of the folder of the results.")
    description: str = Field(default="", description="What the workflow does, for people.")
    seed: NonNegativeInt = Field(default=0, lt=2**63, description="Seed of every random choice of every step.")
    steps: dict[Name, dict[str, Any]] = Field(min_length=1, description="Steps by name; each has a kind.")


@dataclass(frozen=True)
class Workflow:
    """A workflow whose settings are valid; its references are checked by :func:`simkit.workflow.plan.make_plan`.

    Attributes:
        name: of the folder of the results.
        seed: of every random choice.
        steps: settings of each step, by name, in the order of the file.
        kinds: kind of each step, by name.
        document: the file; paths in it are relative to its folder.
    """

    name: str
    seed: int
    steps: dict[str, Step]
    kinds: dict[str, str]
    document: Document

    def keys(self, step: str) -> Keys:
        """Where the settings of a step stand in the file; without ``steps``, the whole file belongs to one step."""
        return ("steps", step) if "steps" in self.document.data else ()


def read_workflow(
    path: str | Path, *, settings: Sequence[str] = (), seed: int | None = None, kinds: Kinds = KINDS
) -> Workflow:
    """Read a workflow file and check every key of it.

    Args:
        path: the YAML file.
        settings: changes as ``path=value``, e.g. ``steps.potential.training.epochs=2``.
        seed: replaces the file's seed.
        kinds: where the classes of the steps are.

    Raises:
        WorkflowError: naming file, line, key and what was expected, for every problem found.
    """
    document = read_document(path)
    for setting in [*settings, *([] if seed is None else [f"seed={seed}"])]:
        document = with_setting(document, setting)
        _check_names(document, setting)
    outline: Outline = validate(document, Outline, document.data)
    steps, problems = {}, []
    for name, data in outline.steps.items():
        try:
            steps[name] = read_step(document, data, ("steps", name), kinds)
        except WorkflowError as error:
            problems.append(str(error))
    if problems:
        raise WorkflowError("\n".join(problems))
    found = {name: outline.steps[name]["kind"] for name in steps}
    return Workflow(outline.name, outline.seed, steps, found, document)


def read_step(document: Document, data: dict[str, Any], keys: tuple[str, ...], kinds: Kinds) -> Step:
    """The settings of one step, of the class that its ``kind`` names."""
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        where = f"{document.where((*keys, 'kind'))}: {'.'.join((*keys, 'kind'))}"
        if kind is None:
            raise WorkflowError(f"{where}: this key is required and missing; expected one of {', '.join(kinds)}")
        raise WorkflowError(f"{where}: unknown kind {kind!r}; {suggestion(str(kind), list(kinds))}")
    own = {key: value for key, value in data.items() if key != "kind"}
    return validate(document, load_class(kinds[kind]), own, keys)


def workflow_schema(kinds: Kinds = KINDS) -> dict[str, Any]:
    """JSON schema of workflow files, for editors."""
    models = [
        create_model(target.partition(":")[2], __base__=load_class(target), kind=(Literal[kind], ...))  # type: ignore[arg-type]
        for kind, target in kinds.items()
    ]
    union = reduce(or_, models) if len(models) == 1 else Annotated[reduce(or_, models), Field(discriminator="kind")]
    steps = (dict[Name, union], Field(min_length=1, description="Steps by name."))  # type: ignore[valid-type]
    schema = create_model("Workflow", __base__=Outline, steps=steps).model_json_schema()
    schema["properties"]["steps"]["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _check_names(document: Document, setting: str) -> None:
    """A ``--set`` changes what is there: it adds no step."""
    words = setting.partition("=")[0].strip().split(".")
    if words[0] not in Outline.model_fields:
        raise WorkflowError(
            f"--set {setting}: unknown key '{words[0]}'; {suggestion(words[0], [*Outline.model_fields])}"
        )
    known = [str(name) for name, _ in _steps_in_file(document)]
    if words[0] == "steps" and len(words) > 1 and words[1] not in known:
        raise WorkflowError(f"--set {setting}: no step is called '{words[1]}'; {suggestion(words[1], known)}")


def _steps_in_file(document: Document) -> list[tuple[str, Any]]:
    lines = {keys: place for keys, place in document.places.items() if place.startswith("line")}
    steps = document.data.get("steps")
    return [(k, v) for k, v in steps.items() if ("steps", k) in lines] if isinstance(steps, dict) else []
