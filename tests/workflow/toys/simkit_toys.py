"""Toy steps: numbers in text files, so that a workflow's result can be computed by hand."""

import os
import time
import warnings
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simkit.errors import DataError
from simkit.workflow.step import Input, Step


class Number(Step):
    """Writes a number, or the sum of the numbers in a file and an offset."""

    produces = ("number.txt",)
    value: float = 0.0
    source: Input | None = None

    def run(self, context):
        total = self.value + (float(context.path(self.source).read_text()) if self.source else 0.0)
        with (context.folder / "runs.txt").open("a") as file:
            file.write("x")
        (context.folder / "number.txt").write_text(repr(total))
        return {"number": total, "seed": context.seed}

    def citations(self):
        return ("Euclid, Elements VII",)


class Linear(BaseModel):
    model_config = ConfigDict(extra="forbid")
    form: Literal["linear"]
    slope: float = Field(gt=0)


class Power(BaseModel):
    model_config = ConfigDict(extra="forbid")
    form: Literal["power"]
    exponent: int = 2


class Training(BaseModel):
    model_config = ConfigDict(extra="forbid")
    epochs: int = Field(3, gt=0)
    rates: list[float] = [1e-3]

    @model_validator(mode="after")
    def _some_rates(self):
        if not self.rates:
            raise ValueError("expected a rate")
        return self


class Add(Step):
    """Adds numbers from several files, slowly, an epoch at a time, and continues."""

    produces = ("sum.txt",)
    terms: list[Input]
    training: Training = Training()
    shape: Annotated[Linear | Power, Field(discriminator="form")] = Power(form="power")
    pause: float = 0.0

    def run(self, context):
        state = context.folder / "state.txt"
        done = int(state.read_text()) if state.exists() else 0
        with context.progress.task("epochs", self.training.epochs, done) as task:
            for epoch in range(done, self.training.epochs):
                time.sleep(self.pause)
                state.write_text(str(epoch + 1))
                task.advance(note=f"epoch {epoch}")
        total = sum(float(context.path(term).read_text()) for term in self.terms)
        (context.folder / "sum.txt").write_text(repr(total))
        context.progress.say(f"sum {total}")
        return {"sum": total, "first_epoch": done, "undefined": float("nan")}


class Fail(Step):
    """Fails in one of the ways in which steps fail."""

    produces = ("nothing.txt",)
    how: Literal["simkit", "bug", "forgets", "dies", "object", "interrupt"]
    after: Input | None = None

    def run(self, context):
        warnings.warn("about to fail", stacklevel=1)
        if self.how == "simkit":
            raise DataError("expected 3 atoms, found [bold]2[/bold]")
        if self.how == "bug":
            raise ZeroDivisionError("division by zero")
        if self.how == "dies":
            os._exit(9)
        if self.how == "interrupt":
            raise KeyboardInterrupt
        if self.how == "object":
            (context.folder / "nothing.txt").write_text("")
            return {"object": Path}
        return {}


class WholeFolder(Step):
    """Reads another step's folder, and writes a web page."""

    produces = ("report.html",)
    folder: Input

    def run(self, context):
        names = sorted(p.name for p in context.path(self.folder).iterdir())
        (context.folder / "report.html").write_text(" ".join(names))
        return {"pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS", "")}
