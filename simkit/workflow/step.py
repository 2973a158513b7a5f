"""The contract of a workflow step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict

from simkit.progress import Progress
from simkit.settings import Settings


class Source(str):
    """The value of a field that names a file: a path, or ``$step/file`` for a file that another step makes."""


Input = Annotated[str, AfterValidator(Source)]
"""A path relative to the workflow file, or ``$step/file``, or ``$step`` for the whole folder of another step.

Inputs may stand anywhere in the settings: ``data: Input``, ``extra: list[Input] = []``, ``model: Input | None = None``.
"""


@dataclass(frozen=True)
class Context:
    """What a running step may use.

    Attributes:
        folder: where it writes; kept after an interruption, so that the step continues from what it finds there.
        inputs: absolute paths of its :data:`Input` fields' values, by the value as written in the file.
        seed: seed of every random choice.
        device: torch device name.
        progress: where it reports progress.
    """

    folder: Path
    inputs: dict[str, Path]
    seed: int
    device: str
    progress: Progress

    def path(self, source: str) -> Path:
        """Absolute path of an input field's value."""
        return self.inputs[source]


class Step(Settings, ABC):
    """Settings of one step, and how to run it.

    A step reads only its inputs and writes only into ``context.folder``. Files are written atomically. It can be killed
    at any time and, run again with the same folder, continues. ``version`` is part of the address of its results: raise
    it when the same settings would give other results. The word ``kind`` of a workflow file chooses the class (see
    :mod:`simkit.workflow.kinds`) and is no field of it. Modules of steps import torch only inside ``run``, so that
    files are checked quickly.
    """

    model_config = ConfigDict(validate_default=True)

    version: ClassVar[int] = 1
    produces: ClassVar[tuple[str, ...]] = ()
    """Names of the files that the step leaves in its folder, for checking references before anything runs.

    A property where the settings decide.
    """

    @abstractmethod
    def run(self, context: Context) -> dict[str, Any]:
        """Do the work; return a JSON-compatible summary whose keys carry units, e.g. ``forces_mae_mev_per_ang``."""

    def citations(self) -> tuple[str, ...]:
        """References (with a DOI) of the methods that these settings use, for the results and the report."""
        return ()
