"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simkit.continuation import require_same_run
from simkit.datasets.base import Batch, Dataset
from simkit.datasets.loader import Loader
from simkit.errors import DataError, Interrupted, SimkitError
from simkit.potential import Potential
from simkit.progress import Progress, Silent, Task
from simkit.training.average import WeightAverage
from simkit.training.checkpoint import Position, load_checkpoint, save_checkpoint
from simkit.training.frames import on_device
from simkit.training.log import Log
from simkit.training.loss import combine
from simkit.training.metrics import Running
from simkit.training.objective import MakeObjective, Objective
from simkit.training.optimiser import freeze, make_optimiser, trainable
from simkit.training.outcome import Reason, TrainingOutcome
from simkit.training.processes import (
    StopRequest,
    connect,
    gather_random_state,
    replicate,
    restore_random_state,
    stop_requests,
    sum_gradients,
    total,
)
from simkit.training.schedule import LearningRate
from simkit.training.settings import RESUMABLE, StageTwo, TrainingSettings


class Trainer:
    """Fits a potential's parameters to labelled frames.

    The folder receives ``log.csv``, ``last.ckpt`` (the whole state) and ``best.ckpt`` (the weights of the best
    validation). If it holds ``last.ckpt`` the run goes on from there, with the same numbers as without interruption.
    Under ``torchrun`` every batch is shared among the processes; the result does not depend on their number.

    Args:
        potential: trained in place; moved to the device and floating-point type of the run.
        training: frames to fit.
        validation: frames that choose the best epoch.
        settings: of the run.
        folder: where it writes, and finds its own checkpoints.
        seed: of the order of the frames and of torch's random numbers.
        origin: plain values that tell where potential and frames come from; a continued run must have the same.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        progress: where live numbers are shown.
        objective: what turns batches into losses; see :mod:`simkit.training.objective`.

    Raises:
        SimkitError: settings that do not fit the potential.
        MissingExtraError: Lightning Fabric is not installed.
    """

    def __init__(
        self,
        potential: Potential,
        training: Dataset,
        validation: Dataset,
        settings: TrainingSettings,
        folder: Path,
        *,
        seed: int = 0,
        origin: Mapping[str, Any] | None = None,
        device: str = "cpu",
        progress: Progress | None = None,
        objective: MakeObjective = Objective,
    ) -> None:
        if not len(training) or not len(validation):
            raise DataError(f"expected frames to train and to validate on, found {len(training)} and {len(validation)}")
        self.fabric = fabric = connect(device)
        self.settings, self.folder, self.seed, self.origin = settings, Path(folder), seed, dict(origin or {})
        self.progress = progress if progress is not None and fabric.is_global_zero else Silent()
        self.potential = potential.to(device=fabric.device, dtype=settings.torch_dtype)
        freeze(potential, settings.frozen)
        self.parameters = trainable(potential)
        replicate(fabric, [*potential.parameters(), *potential.buffers()])
        torch.manual_seed(seed + fabric.global_rank)
        self.objective = objective(potential, settings, fabric)
        self.training = self.objective.loader(training, settings.batch_size, shuffle=True, seed=seed)
        self.validation = self._in_order(validation)
        self.optimiser = make_optimiser(potential, settings.optimiser)
        self.average = WeightAverage(self.parameters, settings.ema) if settings.ema else None
        self.rate = LearningRate(settings, len(self.training))
        self.stateful: dict[str, Any] = {"potential": potential, "optimiser": self.optimiser, "rate": self.rate}
        self.position = Position()
        self._look_every = 1 if fabric.device.type == "cpu" else 10  # steps between waiting for the device's numbers
        self._started = self._saved = time.monotonic()
        self.running = self._no_sums()

    def fit(self) -> TrainingOutcome:
        """Train until the epochs, the hours or the patience are used up; leave the best weights in the potential.

        Raises:
            DataError: a frame, named, that cannot be used; labels that the loss needs are missing everywhere.
            SimkitError: the loss became NaN; the folder holds the checkpoint of another run.
            Interrupted: Ctrl-C or SIGTERM, after saving.
        """
        self._resume()
        self._started = self._saved = time.monotonic()
        log = Log(self.folder / "log.csv") if self.fabric.is_global_zero else None
        if log:
            log.keep_before(self.position.epoch + 1)
        steps = self.settings.max_epochs * len(self.training)
        with stop_requests() as request, self.progress.task("training", steps, self.position.step) as task:
            reason = self._loop(log, request, task)
        self._save()
        if log:
            log.close()
        return self._finish(reason)

    def assess(self, dataset: Dataset) -> dict[str, float]:
        """Errors of the potential as it is on a dataset, e.g. on test data after :meth:`fit`."""
        return self.objective.assess(self._in_order(dataset), self.position.stage, per_element=True)[1]

    def _loop(self, log: Log | None, request: StopRequest, task: Task) -> Reason:
        settings, position = self.settings, self.position
        while position.epoch < settings.max_epochs:
            waited_enough = settings.early_stop is not None and position.waited >= settings.early_stop
            stage_two = settings.stage_two if position.stage == 1 and position.batch == 0 else None
            if stage_two and (waited_enough or position.epoch >= stage_two.start_epoch):
                self._enter(stage_two)
            elif waited_enough:
                return "early_stop"
            if not self._train_epoch(request, task):
                return "max_hours"
            row = self._end_epoch()
            if log:
                log.append(row)
        return "max_epochs"

    def _train_epoch(self, request: StopRequest, task: Task) -> bool:
        """Do the rest of an epoch; False if the time is up."""
        position, fabric = self.position, self.fabric
        plan = self.training.batches(position.epoch)[position.batch :]
        coming = on_device(self.training.epoch(position.epoch, position.batch), fabric.device)
        for indices, batch in zip(plan, coming, strict=True):
            look = position.step % self._look_every == 0
            self._step(batch, indices, look)
            task.advance(1, f"epoch {position.epoch + 1}  {self.running.note(self._weights)}" if look else "")
            if not look:
                continue
            stop, late, save = total(fabric, self._wishes(request)).tolist()
            if stop or (save and not late):
                self._save()
            if stop:
                raise Interrupted(
                    f"training stopped on request in epoch {position.epoch + 1}, after {position.step} steps. "
                    f"Its state is in {self.folder / 'last.ckpt'}: run the same command again to continue"
                )
            if late:
                return False
        return True

    def _step(self, batch: Batch, indices: Sequence[int], look: bool) -> None:
        position = self.position
        part, prediction = self.objective.evaluate(batch, position.stage, training=True)
        counts = total(self.fabric, part.counts)
        loss = combine(part.sums, counts, self._weights)
        self.optimiser.zero_grad()
        if loss.requires_grad:
            loss.backward()
        sum_gradients(self.fabric, self.parameters)
        norm = self.objective.clip(self.parameters)
        if look and not bool(torch.isfinite(loss + norm)):
            raise SimkitError(self.objective.blame(self.training, indices, position.stage))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate.at(position.step, position.stage)
        self.optimiser.step()
        if self.average is not None:
            self.average.update()
        self.running.add(part, prediction, batch)
        position.batch, position.step = position.batch + 1, position.step + 1

    def _end_epoch(self) -> dict[str, Any]:
        """Validate if it is time; the log's row."""
        position = self.position
        self.running.join()
        self.objective.require_labels(self.running.sums[1], position.stage)
        position.epoch, position.batch, position.waited = position.epoch + 1, 0, position.waited + 1
        row: dict[str, Any] = {"epoch": position.epoch, "step": position.step, "stage": position.stage}
        row |= {"learning_rate": self.optimiser.param_groups[0]["lr"], "train_loss": self.running.loss(self._weights)}
        row |= {f"train_{name}": value for name, value in self.running.errors.result().items()}
        if position.epoch % self.settings.validate_every == 0 or position.epoch == self.settings.max_epochs:
            loss, errors = self._validate()
            row |= {"validation_loss": loss} | {f"validation_{name}": value for name, value in errors.items()}
        row["seconds"] = round(self._seconds(), 3)
        self.running = self._no_sums()
        return row

    def _validate(self) -> tuple[float, dict[str, float]]:
        """Loss and errors of the averaged weights; these are kept if they are the best so far."""
        position = self.position
        with self.average.applied() if self.average is not None else nullcontext():
            loss, errors = self.objective.assess(self.validation, position.stage)
            if not loss < math.inf:
                raise SimkitError(
                    f"the validation loss became {loss} in epoch {position.epoch}: lower the learning rate"
                )
            if loss < position.best:
                position.best, position.best_epoch, position.waited = loss, position.epoch, 0
                if self.fabric.is_global_zero:
                    state = {"potential": self.potential.state_dict(), "position": asdict(position), "errors": errors}
                    save_checkpoint(self.folder / "best.ckpt", state)
        self.rate.observe(loss)
        return loss, errors

    def _enter(self, stage: StageTwo) -> None:
        position = self.position
        position.stage, position.best, position.best_epoch, position.waited = 2, math.inf, -1, 0
        decay = None if stage.average == "uniform" else self.settings.ema
        if stage.average == "uniform" or (stage.average == "ema" and decay is not None):
            self.average = WeightAverage(self.parameters, decay)

    def _finish(self, reason: Reason) -> TrainingOutcome:
        position = self.position
        if position.best_epoch < 0:
            self._validate()
        self.fabric.barrier()
        best = load_checkpoint(self.folder / "best.ckpt", self.fabric.device)
        self.potential.load_state_dict(best["potential"])
        at, hours = best["position"], self._seconds() / 3600
        return TrainingOutcome(reason, position.epoch, at["best_epoch"], at["best"], best["errors"], hours)

    def _resume(self) -> None:
        """Go on from the folder's checkpoint, if there is one."""
        path = self.folder / "last.ckpt"
        if not path.exists():
            return
        state = load_checkpoint(path, self.fabric.device)
        require_same_run(path, state["run"], self._description(), changeable=RESUMABLE)
        self.position = Position(**state["position"])
        for name, part in self.stateful.items():
            part.load_state_dict(state[name])
        if state["average"] is not None:
            self.average = WeightAverage(self.parameters, state["average"]["decay"])
            self.average.load_state_dict(state["average"])
        self.running.load_state_dict(state["running"])
        restore_random_state(self.fabric, state["random"])
        self.progress.say(f"continuing after epoch {self.position.epoch}, step {self.position.step}")

    def _save(self) -> None:
        """Write the whole state."""
        shared = {"running": self.running.state_dict(), "random": gather_random_state(self.fabric)}
        self.position.seconds = self._seconds()
        self._started = self._saved = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        state = {
            "run": self._description(),
            "position": asdict(self.position),
            "average": self.average.state_dict() if self.average is not None else None,
            **{name: part.state_dict() for name, part in self.stateful.items()},
            **shared,
        }
        save_checkpoint(self.folder / "last.ckpt", state)

    def _description(self) -> dict[str, Any]:
        """What must be the same when a run continues."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "seed": self.seed,
            **self.origin,
            "frames": [len(self.training.dataset), len(self.validation.dataset)],
            "parameters": {name: list(value.shape) for name, value in self.potential.named_parameters()},
        }

    def _in_order(self, dataset: Dataset) -> Loader:
        return self.objective.loader(dataset, self.settings.validation_batch_size, shuffle=False)

    def _no_sums(self) -> Running:
        return Running(self.fabric, free_atoms_only=self.settings.loss.free_atoms_only)

    @property
    def _weights(self) -> Tensor:
        return self.objective.weights(self.position.stage)

    def _wishes(self, request: StopRequest) -> Tensor:
        """Whether this process wants to stop, because of a request or the time, or to save: 1 or 0 each."""
        limit = self.settings.max_hours
        late = limit is not None and self._seconds() > 3600 * limit
        due = time.monotonic() - self._saved > 60 * self.settings.checkpoint_minutes
        return torch.tensor([request.made, late, due], dtype=torch.float64, device=self.fabric.device)

    def _seconds(self) -> float:
        return self.position.seconds + time.monotonic() - self._started
