"""Read pickles written by other programs without running anything that they contain.

A pickle is a program for a stack machine that may import and call any function. Here nothing is imported: every name in
the file is either one of the few functions that the caller passes, or an inert class (:class:`Inert`) that merely keeps
what it is given. What comes out is a tree of plain Python values and inert objects to read from. The limits below
bound memory and time for hostile files.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar

from simkit.errors import ModelFileError

MAX_BYTES = 32 * 2**20
MAX_OPCODES = 5_000_000
FORBIDDEN_OPCODES = frozenset({"EXT1", "EXT2", "EXT4", "PERSID", "NEXT_BUFFER", "READONLY_BUFFER"})
MEMO_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"})
HOSTILE = re.compile(
    r"_*(asyncio|bdb|cProfile|code|commands|ctypes|distutils|doctest|ftplib|http|importlib|multiprocessing|nt|os|pdb|pickle"
    r"|pip|pkgutil|platform|posix|profile|pty|pydoc|runpy|shutil|signal|site|smtplib|socket|ssl|subprocess|sys|tempfile"
    r"|threading|timeit|trace|urllib|venv|webbrowser)(\..*)?|(__builtin__|builtins|_?io)\."
    r"(__import__|breakpoint|compile|delattr|eval|exec|exit|globals|help|input|open|quit)"
)
"""Names that only an attack asks for. Any other name is just as inert: these are for a clear message."""


class Inert:
    """Stands for an object of a class that is not imported, and keeps how the file describes it.

    Attributes:
        source: dotted name of the class or function, such as ``mace.modules.models.ScaleShiftMACE``.
        arguments: what the class or function was called with.
        state: what the file would have set on the object; a dictionary of its attributes for most classes.
        items: elements that the file would have put into a list, set or mapping.
    """

    source: ClassVar[str] = ""
    arguments: tuple[Any, ...]
    state: Any
    items: list[Any]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Inert:
        """An object that keeps its arguments."""
        self = super().__new__(cls)
        self.arguments = (*arguments, *keywords.items())
        self.state = None
        self.items = []
        return self

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, value: Any) -> None:
        """Keep an element of a list."""
        self.items.append(value)

    def add(self, value: Any) -> None:
        """Keep an element of a set."""
        self.items.append(value)

    def __repr__(self) -> str:
        return f"<inert {self.source}>"


class _Allowed:
    """A function that the file may call; nothing can be set on it from the file."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("expected an object to set attributes on, found a function")

    __setstate__ = None


def load(
    data: bytes,
    allowed: Mapping[str, Callable[..., Any]],
    persistent: Callable[[Hashable], Any] | None = None,
    what: str = "the file",
) -> Any:
    """Read a pickle with nothing imported and nothing called but ``allowed``.

    Args:
        data: the pickle.
        allowed: functions by the dotted names under which the file asks for them. They get arguments from the file and
            must not trust them.
        persistent: gives the objects that the pickle refers to without containing them (tensor storages).
        what: name of the file, for messages.

    Raises:
        ModelFileError: not a pickle, a damaged one, one that is built to exhaust memory, or one that asks for functions
            that run programs.
    """
    _check_opcodes(data, what)
    reader = _Reader(data, allowed, persistent, what)
    try:
        return reader.load()
    except ModelFileError:
        raise
    except Exception as error:  # a hostile file can make any operation of the stack machine fail, in any way
        raise ModelFileError(
            f"{what} cannot be read: its pickle is damaged ({type(error).__name__}: {error})"
        ) from error


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, allowed: Mapping[str, Callable[..., Any]], persistent: Any, what: str) -> None:
        super().__init__(io.BytesIO(data))
        self._allowed = {name: _Allowed(function) for name, function in allowed.items()}
        self._persistent = persistent
        self._what = what
        self._inert: dict[str, type[Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        source = f"{module}.{name}"
        if source in self._allowed:
            return self._allowed[source]
        if HOSTILE.fullmatch(source):
            raise ModelFileError(
                f"{self._what} asks to call '{source}', which no model needs: it was made to run a program on your "
                "computer. Nothing was run. Do not open it with other software, and ask where it comes from"
            )
        if source not in self._inert:
            self._inert[source] = type("Inert", (Inert,), {"source": source})
        return self._inert[source]

    def persistent_load(self, identifier: Hashable) -> Any:
        if self._persistent is None:
            raise ModelFileError(f"{self._what} refers to data outside its pickle, which is not expected here")
        return self._persistent(identifier)


def _check_opcodes(data: bytes, what: str) -> None:
    """Walk over the instructions without executing them."""
    if len(data) > MAX_BYTES:
        raise ModelFileError(f"{what}: expected a pickle of at most {MAX_BYTES} bytes, found {len(data)}")
    try:
        # no valid pickle has more memo entries than bytes: a larger index only serves to allocate memory
        for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if count > MAX_OPCODES:
                raise ModelFileError(f"{what}: expected a pickle of at most {MAX_OPCODES} instructions, found more")
            if opcode.name in FORBIDDEN_OPCODES:
                raise ModelFileError(f"{what}: the pickle instruction {opcode.name} at byte {position} is not accepted")
            if opcode.name in MEMO_OPCODES and (argument is None or not 0 <= argument <= len(data)):
                raise ModelFileError(f"{what}: the pickle refers to memo entry {argument}, which it cannot have")
    except ModelFileError:
        raise
    except Exception as error:  # pickletools raises many kinds
        raise ModelFileError(f"{what} cannot be read: it is no complete pickle ({error})") from error
