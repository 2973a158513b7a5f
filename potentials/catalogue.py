"""Every kind of potential by the name that model files and workflow files use."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from simkit.errors import ModelFileError, SimkitError
from simkit.potential import Potential

CATALOGUE: Mapping[str, str] = {
    "calibrated": "simkit.uncertainty.calibrated:Calibrated",
    "conformal": "simkit.uncertainty.conformal_potential:Conformal",
    "dispersion-d3": "simkit.potentials.dispersion:DispersionD3",
    "element-shift": "simkit.potentials.element_shift:ElementShift",
    "ensemble": "simkit.uncertainty.ensemble:Ensemble",
    "hyperactive": "simkit.uncertainty.bias:Hyperactive",
    "laplace": "simkit.uncertainty.laplace:Laplace",
    "latent-distance": "simkit.uncertainty.latent_distance:LatentDistance",
    "lennard-jones": "simkit.potentials.lennard_jones:LennardJones",
    "llpr": "simkit.uncertainty.llpr:LLPR",
    "mace": "simkit.potentials.mace:MACE",
    "mean-variance": "simkit.uncertainty.mean_variance:MeanVariance",
    "morse": "simkit.potentials.morse:Morse",
    "one-head": "simkit.potentials.one_head:OneHead",
    "painn": "simkit.potentials.painn:PaiNN",
    "shallow-ensemble": "simkit.uncertainty.shallow_ensemble:ShallowEnsemble",
    "stacked-ensemble": "simkit.uncertainty.stacked:StackedEnsemble",
    "stillinger-weber": "simkit.potentials.stillinger_weber:StillingerWeber",
    "sum": "simkit.potentials.sum:Sum",
    "uncertainty-driven": "simkit.uncertainty.bias:UncertaintyDriven",
    "weighted-baseline": "simkit.uncertainty.weighted_baseline:WeightedBaseline",
    "zbl": "simkit.potentials.zbl:ZBL",
}
"""Kind -> ``module:Class``. A class is imported when it is first used."""

GROUP = "simkit.potentials"
"""Group of entry points by which installed packages add kinds of their own: ``kind = "module:Class"``."""

Kinds = Mapping[str, type[Potential]]
"""Classes of one's own by their kinds."""


def potential_class(kind: str, kinds: Kinds | None = None) -> type[Potential]:
    """The class of a kind.

    A file names kinds alone, never code: classes come from simkit, from the caller, and from packages that somebody has
    installed on this machine and that offer them in the entry points of :data:`GROUP`.

    Args:
        kind: as in model files.
        kinds: further classes.

    Raises:
        ModelFileError: no such kind; the message lists those there are.
    """
    own = dict(kinds or {})
    if kind in own:
        return own[kind]
    if kind in CATALOGUE:
        module, _, name = CATALOGUE[kind].partition(":")
        return getattr(import_module(module), name)
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if kind in installed:
        return _require_potential(kind, installed[kind].load())
    known = sorted({*CATALOGUE, *own, *installed})
    similar = get_close_matches(kind, known, n=1)
    hint = f"Did you mean '{similar[0]}'? " if similar else ""
    raise ModelFileError(
        f"there is no kind of potential called {kind!r:.80}. {hint}Known kinds: {', '.join(known)}. A file written by "
        "a later version of simkit may need that version; a class of your own is given by kinds={...}, or by the "
        f"package that has it in an entry point of {GROUP}"
    )


def _require_potential(kind: str, found: Any) -> type[Potential]:
    if isinstance(found, type) and issubclass(found, Potential) and found.kind == kind:
        return found
    raise ModelFileError(
        f"the entry point {kind!r} of {GROUP} should be a Potential class whose kind is {kind!r}, found {found!r:.80}: "
        "correct it in the package that offers it"
    )


def build(specification: Mapping[str, Any], kinds: Kinds | None = None, *, complete: bool = False) -> Potential:
    """A potential from its ``{"kind", "config"}``; wrappers hold the specifications of what they wrap.

    Tensors have their initial values: model files load theirs afterwards.

    Args:
        specification: kind and configuration.
        kinds: classes beside those of the catalogue.
        complete: refuse a configuration that lacks something, in place of taking the present default: another
            version of the class may have had another one.

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
    cls = potential_class(kind, kinds)
    try:
        potential = cls.from_config(dict(config), partial(build, kinds=kinds, complete=complete))
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
    missing = [name for name in potential.config() if name not in config]
    if complete and missing:
        raise ModelFileError(
            f"the config of the '{kind}' potential lacks {', '.join(missing)}: it was edited, or written by a version "
            "that did not have this; write it again with the version that made it, or add what is missing"
        )
    return potential
