"""Every kind of potential by the name that model files and workflow files use."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from simkit.errors import ModelFileError, SimkitError
from simkit.potential import Potential

CATALOGUE: Mapping[str, str] = {
    "dispersion-d3": "simkit.potentials.dispersion:DispersionD3",
    "element-shift": "simkit.potentials.element_shift:ElementShift",
    "lennard-jones": "simkit.potentials.lennard_jones:LennardJones",
    "mace": "simkit.potentials.mace:MACE",
    "morse": "simkit.potentials.morse:Morse",
    "one-head": "simkit.potentials.one_head:OneHead",
    "painn": "simkit.potentials.painn:PaiNN",
    "stillinger-weber": "simkit.potentials.stillinger_weber:StillingerWeber",
    "sum": "simkit.potentials.sum:Sum",
    "zbl": "simkit.potentials.zbl:ZBL",
}
"""Kind -> ``module:Class``. A class is imported when it is first used."""


def potential_class(kind: str) -> type[Potential]:
    """The class of a kind.

    Raises:
        ModelFileError: no such kind; the message lists those there are.
    """
    if kind not in CATALOGUE:
        similar = get_close_matches(kind, CATALOGUE, n=1)
        hint = f"Did you mean '{similar[0]}'? " if similar else ""
        raise ModelFileError(
            f"there is no kind of potential called {kind!r:.80}. {hint}Known kinds: {', '.join(sorted(CATALOGUE))}. "
            "A file written by a later version of simkit may need that version"
        )
    module, _, name = CATALOGUE[kind].partition(":")
    return getattr(import_module(module), name)


def build(specification: Mapping[str, Any]) -> Potential:
    """A potential from its ``{"kind", "config"}``; wrappers hold the specifications of what they wrap.

    Tensors have their initial values: model files load theirs afterwards.

    Raises:
        ModelFileError: a malformed specification, an unknown kind, or arguments that the class does not accept.
    """
    if not isinstance(specification, Mapping) or set(specification) != {"kind", "config"}:
        found = (
            ", ".join(map(str, specification)) if isinstance(specification, Mapping) else type(specification).__name__
        )
        raise ModelFileError(f'expected a potential as {{"kind": ..., "config": ...}}, found {found:.200}')
    kind, config = specification["kind"], specification["config"]
    if not isinstance(kind, str) or not isinstance(config, Mapping):
        raise ModelFileError(
            f"expected the kind of a potential as text and its config as a mapping, found {kind!r:.80} and "
            f"{type(config).__name__}"
        )
    cls = potential_class(kind)
    try:
        return cls.from_config(dict(config), build)
    except SimkitError:
        raise
    except (
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        RuntimeError,
        AttributeError,
        OverflowError,
        MemoryError,
    ) as error:
        message = f"a '{kind}' potential cannot be built from the given config ({type(error).__name__}: {error})"
        raise ModelFileError(message) from error
