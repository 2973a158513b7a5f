"""Machine profiles: what runs the steps of a workflow, apart from the workflow itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, TypeAdapter

from simkit.settings import Settings
from simkit.workflow.document import read_document
from simkit.workflow.messages import validate

Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


class BaseProfile(Settings):
    """What all profiles have."""

    device: Device = Field(
        default="auto", description="Torch device; auto takes a CUDA device if there is one, else the CPU."
    )
    threads: PositiveInt | None = Field(
        default=None, description="Threads of torch in each step; by default torch's choice."
    )


class SerialProfile(BaseProfile):
    """One step after the other in the process of the command: the default, and the best for one machine."""

    executor: Literal["serial"] = "serial"


class ProcessesProfile(BaseProfile):
    """Several steps at a time on one machine, each in a process of its own."""

    executor: Literal["processes"]
    workers: PositiveInt = Field(default=2, description="Steps that run at the same time.")


class ParslProfile(BaseProfile):
    """Pilot jobs of Parsl, on this machine or through SLURM."""

    executor: Literal["parsl"]
    provider: Literal["local", "slurm"] = "local"
    workers: PositiveInt = Field(default=1, description="Steps that run at the same time on one node.")
    nodes: PositiveInt = Field(default=1, description="Nodes of one pilot job.")
    blocks: PositiveInt = Field(default=1, description="Pilot jobs at most.")
    partition: str | None = None
    account: str | None = None
    walltime: str = Field(default="01:00:00", description="Of a pilot job, hh:mm:ss.")
    scheduler_options: str = Field(default="", description="Lines for the head of the SLURM script.")
    worker_init: str = Field(default="", description="Shell commands before the workers start, e.g. module load.")


class DaskProfile(BaseProfile):
    """Workers of Dask: a running scheduler, or a cluster started on this machine."""

    executor: Literal["dask"]
    address: str | None = Field(default=None, description="Of a running scheduler, e.g. tcp://host:8786.")
    scheduler_file: Path | None = Field(default=None, description="That a running scheduler wrote.")
    workers: PositiveInt = Field(default=2, description="Of the cluster on this machine, if no scheduler is given.")


class ExecutorlibProfile(BaseProfile):
    """Jobs of executorlib: processes on this machine, or SLURM or Flux jobs."""

    executor: Literal["executorlib"]
    backend: Literal["local", "slurm", "flux"] = "local"
    workers: PositiveInt = Field(default=1, description="Steps that run at the same time.")
    resources: dict[str, Any] = Field(default_factory=dict, description="executorlib's resource_dict of each step.")


class SubmititProfile(BaseProfile):
    """One job for each step through submitit."""

    executor: Literal["submitit"]
    cluster: Literal["slurm", "local"] = "slurm"
    workers: PositiveInt = Field(default=8, description="Jobs at the same time.")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Of submitit's AutoExecutor, e.g. timeout_min, slurm_partition, gpus_per_node.",
    )


Profile = SerialProfile | ProcessesProfile | ParslProfile | DaskProfile | ExecutorlibProfile | SubmititProfile
_Discriminated = Annotated[Profile, Field(discriminator="executor")]


def read_machine(path: str | Path) -> Profile:
    """Read a machine profile.

    Raises:
        WorkflowError: naming file, line, key and what was expected.
    """
    document = read_document(path)
    return validate(document, _Discriminated, document.data)


def machine_schema() -> dict[str, Any]:
    """JSON schema of machine profiles, for editors."""
    schema = TypeAdapter(_Discriminated).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Machine", **schema}
