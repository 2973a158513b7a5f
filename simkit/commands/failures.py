"""How the command line tells that something went wrong."""

from __future__ import annotations

import errno
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import typer
from rich.console import Console

import simkit
from simkit.errors import Interrupted, SimkitError

DEBUG = "--debug"
INTERRUPTED = 130


@contextmanager
def reported(debug: bool) -> Iterator[None]:
    """Turn exceptions into one message and an exit status: 1 after an error, 130 after an interruption.

    Args:
        debug: show the traceback too.
    """
    try:
        yield
    except SimkitError as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, Interrupted):
            _stopped(str(error))
        _fail(str(error))
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        _stopped("interrupted; run the same command to continue")
    except BrokenPipeError:
        raise
    except OSError as error:
        if debug:
            traceback.print_exc()
        _fail(_system_error(error))
    except Exception as error:
        if debug or _belongs_to_typer(error):
            raise
        _fail(_unexpected(error))


def require_file(path: Path, what: str) -> Path:
    """Check that an input exists.

    Raises:
        SimkitError: it does not; a file with a similar name is suggested.
    """
    if path.exists():
        return path
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = get_close_matches(path.name, names, n=1)
    hint = f"; did you mean {path.parent / nearest[0]}?" if nearest else ""
    if not path.parent.is_dir():
        hint = f"; the folder {path.parent} does not exist either"
    raise SimkitError(f"{what} {path}: no such file{hint}")


def _fail(message: str) -> None:
    console = Console(stderr=True)
    console.print("error: ", style="bold red", end="\n" if "\n" in message else "")
    console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _stopped(message: str) -> None:
    Console(stderr=True).print(f"\n{message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(INTERRUPTED)


def _system_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}the disk is full ({error.strerror}): free some space, then run the same command to continue"
    return f"{place}{error.strerror or error}"


def _unexpected(error: Exception) -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="simkit-error-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"simkit {simkit.__version__}, python {sys.version}\ncommand: {' '.join(sys.argv)}\n\n")
        traceback.print_exc(file=file)
    return (
        f"unexpected {type(error).__name__}: {error}\n"
        f"This is a defect of simkit: please report it to its developers with the file {file.name}, which holds the "
        f"command and the traceback ({DEBUG} shows it here)."
    )


def _belongs_to_typer(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] in ("typer", "click")
