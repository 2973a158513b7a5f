"""The command ``simkit``: what it can do. Each command imports what it needs when it runs."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from simkit.commands import calibrate, evaluate, inform, md, predict, relax, run, train
from simkit.commands.failures import DEBUG, reported


class Commands(TyperGroup):
    """The commands, with errors told in one message; ``--debug`` may stand anywhere on the line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take ``--debug`` from the line."""
        if DEBUG in args:
            ctx.meta[DEBUG] = True
            args = [word for word in args if word != DEBUG]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with reported(debug=ctx.meta.get(DEBUG, False)):
            try:
                return super().invoke(ctx)
            except typer.BadParameter as error:
                error.message = error.message.removeprefix("Value error, ")
                raise


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Interatomic potentials and simulations on PyTorch: train, evaluate, simulate, run whole workflows.",
)
app.command("run")(run.run)
app.command("train")(train.train)
app.command("calibrate")(calibrate.calibrate)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("relax")(relax.relax)
app.command("md")(md.md)
app.command("info")(inform.info)
app.command("schema")(inform.schema)
app.command("version")(inform.version)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show tracebacks; may stand anywhere on the line.")] = False,
) -> None:
    """Set what holds for all commands."""


def main() -> None:
    """Run the command line; SIGTERM stops as cleanly as Ctrl-C.

    Threads of OpenMP wait for one another asleep, not spinning: where other programs keep the cores busy, spinning
    makes small operations ten times slower, and where they do not it gains next to nothing.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported, by the commands
    signal.signal(signal.SIGTERM, _interrupt)
    app(prog_name="simkit")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
