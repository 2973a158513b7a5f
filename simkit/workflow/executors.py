"""Executors of machine profiles: each opens one ``concurrent.futures.Executor``, and stops it when interrupted."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

from simkit.errors import SimkitError
from simkit.workflow.machine import (
    DaskProfile,
    ExecutorlibProfile,
    ParslProfile,
    ProcessesProfile,
    Profile,
    SerialProfile,
    SubmititProfile,
)

GRACE = 30.0
"""Seconds that a worker has to save its state after an interruption."""


def open_executor(profile: Profile, folder: Path) -> AbstractContextManager[Executor]:
    """The executor that a profile describes.

    Args:
        profile: of the machine.
        folder: where the executor may keep its own files and logs.

    Raises:
        SimkitError: its package is not installed.
    """
    match profile:
        case ProcessesProfile():
            return _processes(profile)
        case ParslProfile():
            return _parsl(profile, folder)
        case DaskProfile():
            return _dask(profile)
        case ExecutorlibProfile():
            return _executorlib(profile, folder)
        case SubmititProfile():
            return _submitit(profile, folder)
        case SerialProfile():
            raise ValueError("a serial profile has no executor: the steps run in this process")


@contextmanager
def _processes(profile: ProcessesProfile) -> Iterator[Executor]:
    """Spawned processes that share the cores of the machine; terminated when the command is interrupted."""
    threads = profile.threads or max(1, (os.cpu_count() or 1) // profile.workers)
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(profile.workers, context, initializer=_start_worker, initargs=(threads,)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(set(multiprocessing.active_children()) - before)
            raise


def _end(children: set[BaseProcess]) -> None:
    """Ask processes to end, which lets a training save its state, and kill those that do not."""
    for child in children:
        child.terminate()
    latest = time.monotonic() + GRACE
    for child in children:
        child.join(max(0.0, latest - time.monotonic()))
        if child.is_alive():
            child.kill()


def _start_worker(threads: int) -> None:
    """Prepare a worker: its threads, a process group that Ctrl-C does not reach, an end when the parent is gone."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.setpgid(0, 0)
    parent = multiprocessing.parent_process()

    def follow_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=follow_parent, daemon=True).start()


@contextmanager
def _parsl(profile: ParslProfile, folder: Path) -> Iterator[Executor]:
    _require("parsl", "parsl")
    from parsl.concurrent import ParslPoolExecutor
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider, SlurmProvider

    common = {"init_blocks": 1, "max_blocks": profile.blocks, "worker_init": profile.worker_init}
    if profile.provider == "slurm":
        provider = SlurmProvider(
            **common,
            partition=profile.partition,
            account=profile.account,
            walltime=profile.walltime,
            nodes_per_block=profile.nodes,
            scheduler_options=profile.scheduler_options,
        )
    else:
        provider = LocalProvider(**common)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # parsl's own worker scripts
    pilot = HighThroughputExecutor(label="simkit", provider=provider, max_workers_per_node=profile.workers)
    with ParslPoolExecutor(Config(executors=[pilot], run_dir=str(folder / ".parsl"), initialize_logging=False)) as pool:
        yield pool


@contextmanager
def _dask(profile: DaskProfile) -> Iterator[Executor]:
    distributed = _require("distributed", "dask[distributed]")
    if profile.address or profile.scheduler_file:
        options: dict[str, Any] = {"address": profile.address, "scheduler_file": profile.scheduler_file}
    else:
        options = {"n_workers": profile.workers, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.Client(**options) as client, client.get_executor(pure=False, retries=0) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _executorlib(profile: ExecutorlibProfile, folder: Path) -> Iterator[Executor]:
    library = _require("executorlib", "executorlib")
    classes = {"local": "SingleNodeExecutor", "slurm": "SlurmClusterExecutor", "flux": "FluxClusterExecutor"}
    options: dict[str, Any] = {"max_workers": profile.workers, "resource_dict": dict(profile.resources)}
    if profile.backend != "local":
        options["cache_directory"] = str(folder / ".executorlib")
    pool = getattr(library, classes[profile.backend])(**options)
    with _stopped_when_interrupted(pool):
        yield pool


@contextmanager
def _submitit(profile: SubmititProfile, folder: Path) -> Iterator[Executor]:
    library = _require("submitit", "submitit")
    submitter = library.AutoExecutor(folder=folder / ".submitit", cluster=profile.cluster)
    submitter.update_parameters(**profile.parameters)
    pool = _JobPool(submitter, profile.workers)
    with _stopped_when_interrupted(pool):
        yield pool


class _JobPool(Executor):
    """submitit's jobs as futures: a thread waits for each job."""

    def __init__(self, submitter: Any, workers: int) -> None:
        self.submitter = submitter
        self.threads = ThreadPoolExecutor(workers)
        self.jobs: list[Any] = []
        self.stopped = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a job as soon as fewer than ``workers`` run."""
        return self.threads.submit(self._run, function, *args, **kwargs)

    def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        job = self.submitter.submit(function, *args, **kwargs)
        self.jobs.append(job)
        while not job.done():
            if self.stopped:
                job.cancel()
                raise SimkitError(f"job {job.job_id} was cancelled")
            time.sleep(0.5)
        return job.result()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the jobs, or cancel them."""
        self.stopped = cancel_futures
        self.threads.shutdown(wait=wait or cancel_futures, cancel_futures=cancel_futures)


@contextmanager
def _stopped_when_interrupted(pool: Executor) -> Iterator[None]:
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _require(module: str, distribution: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise SimkitError(
            f"this machine profile needs the package '{distribution}'. Install it with: pip install '{distribution}'"
        ) from error
