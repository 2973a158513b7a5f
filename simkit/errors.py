"""Errors that users can meet: each says what was expected, what was found and what to do."""


class SimkitError(Exception):
    """Base of every error that simkit raises on purpose; the command line prints it without a traceback."""


class SimkitWarning(UserWarning):
    """Something may not be what its user meant; the work goes on."""


class UnsupportedElementError(SimkitError, ValueError):
    """A system holds elements that a potential was not made for."""


class InvalidSystemError(SimkitError, ValueError):
    """A system is malformed: NaN positions, a singular cell, atoms on top of one another."""


class ModelFileError(SimkitError, ValueError):
    """A model file is missing, damaged, of an unknown kind or holds something that is not supported."""


class DataError(SimkitError, ValueError):
    """A data file or a frame in it cannot be used."""


class WorkflowError(SimkitError, ValueError):
    """A workflow file does not describe a workflow, or one of its steps failed."""


class Interrupted(SimkitError):
    """Somebody stopped the work; its state is saved, and the same call continues it."""


class MissingExtraError(SimkitError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}'. Install it with: pip install 'simkit-sci[{extra}]'")
