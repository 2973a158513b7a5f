"""What a workflow would do: addresses of results, what is finished, what runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simkit.errors import WorkflowError
from simkit.workflow.digest import FileDigests, address_of
from simkit.workflow.document import dotted, suggestion
from simkit.workflow.graph import ancestors, dependencies, descendants, ordered, parse_reference, sources
from simkit.workflow.schema import Workflow
from simkit.workflow.step import Step
from simkit.workflow.store import is_begun, is_finished
from simkit.workflow.worker import Job


@dataclass(frozen=True)
class PlannedStep:
    """One step with everything that its run needs.

    Attributes:
        name: in the workflow file.
        kind: in the workflow file.
        step: settings.
        address: hash of kind, version, settings, inputs and seed; equal addresses mean equal results.
        folder: of the results.
        inputs: absolute path of each input, by its value in the file.
        origins: address or content hash of each input, by its value in the file.
        needs: names of the steps whose files it reads.
    """

    name: str
    kind: str
    step: Step
    address: str
    folder: Path
    inputs: dict[str, Path]
    origins: dict[str, Any]
    needs: frozenset[str]

    @property
    def finished(self) -> bool:
        """Whether its results are there already."""
        return is_finished(self.folder, self.address, self.step.produces)

    @property
    def begun(self) -> bool:
        """Whether an earlier run left something to continue from."""
        return is_begun(self.folder)

    def job(self, seed: int, device: str, threads: int | None) -> Job:
        """The step as it is sent to a worker; see :class:`~simkit.workflow.worker.Job`."""
        return Job(
            self.name,
            self.kind,
            self.step,
            self.address,
            self.folder,
            self.inputs,
            self.origins,
            seed,
            device,
            threads,
        )


@dataclass(frozen=True)
class Plan:
    """The steps of a workflow, each after those that it needs.

    Attributes:
        name: of the workflow.
        folder: ``runs/<name>``.
        seed: of every random choice.
        steps: by name.
    """

    name: str
    folder: Path
    seed: int
    steps: dict[str, PlannedStep]

    @property
    def needs(self) -> dict[str, frozenset[str]]:
        """Names of the steps that each step needs."""
        return {name: one.needs for name, one in self.steps.items()}

    def restricted(self, only: str) -> Plan:
        """The plan of one step and of those that it needs."""
        self.require(only, "--only")
        kept = ancestors(self.needs, only)
        return Plan(self.name, self.folder, self.seed, {n: s for n, s in self.steps.items() if n in kept})

    def following(self, forced: str) -> list[PlannedStep]:
        """One step and those that read, directly or not, what it makes."""
        self.require(forced, "--force")
        return [self.steps[name] for name in descendants(self.needs, forced)]

    def require(self, name: str, option: str) -> None:
        """Check that a step exists."""
        if name not in self.steps:
            raise WorkflowError(f"{option} {name}: no step is called '{name}'; {suggestion(name, [*self.steps])}")


def make_plan(workflow: Workflow, runs: Path) -> Plan:
    """Check the references and files of a workflow and compute the addresses of its results.

    Raises:
        WorkflowError: unknown steps or files, circles, or files that are missing.
    """
    needs = dependencies(workflow)
    order = ordered(needs)
    files = _input_files(workflow)
    parent = runs.absolute() / workflow.name
    digests = FileDigests(parent / ".digests.json")
    planned: dict[str, PlannedStep] = {}
    for name in order:
        step = workflow.steps[name]
        inputs, origins = {}, {}
        for source in dict.fromkeys(sources(step).values()):
            reference = parse_reference(source)
            if reference is None:
                path = files[source]
                inputs[str(source)] = path
                origins[str(source)] = {"sha256": digests.digest(path), "suffix": "".join(path.suffixes)}
            else:
                upstream = planned[reference.step]
                inputs[str(source)] = upstream.folder / reference.file
                origins[str(source)] = {"step": upstream.address, "file": reference.file}
        kind = workflow.kinds[name]
        address = address_of(kind, step, origins, workflow.seed)
        folder = parent / f"{name}-{address[:12]}"
        planned[name] = PlannedStep(name, kind, step, address, folder, inputs, origins, needs[name])
    return Plan(workflow.name, parent, workflow.seed, planned)


def _input_files(workflow: Workflow) -> dict[str, Path]:
    """Absolute paths of the inputs that are files, all of which must exist."""
    base = workflow.document.path.absolute().parent
    files: dict[str, Path] = {}
    problems = []
    for name, step in workflow.steps.items():
        for keys, source in sources(step).items():
            if parse_reference(source) is not None:
                continue
            files[source] = base / Path(source).expanduser()
            if not files[source].exists():
                full = (*workflow.keys(name), *keys)
                hint = f"; did you mean ${source}?" if source.split("/")[0] in workflow.steps else ""
                problems.append(
                    f"{workflow.document.where(full)}: {dotted(full)}: no such file {files[source]} "
                    f"(paths are relative to the folder of {workflow.document.path.name}){hint}"
                )
    if problems:
        raise WorkflowError("\n".join(problems))
    return files
