"""Who watches the uncertainty of dynamics, as the settings say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from simkit.dynamics import MDState
from simkit.errors import SimkitError
from simkit.flows import Observer
from simkit.progress import Progress
from simkit.tasks.settings import CANDIDATES, Collecting, Watching
from simkit.uncertainty.collector import FrameCollector
from simkit.uncertainty.monitor import UncertaintyMonitor
from simkit.uncertainty.stop_rule import UncertaintyStop, require_calibrated

T = TypeVar("T", Watching, Collecting)


def watching(settings: Mapping[str, Any]) -> Watching:
    """Settings from a mapping, as of a file.

    Raises:
        SimkitError: an unknown name.
    """
    collect = settings.get("collect")
    chosen = dict(settings)
    if isinstance(collect, Mapping):
        chosen["collect"] = _made(Collecting, collect)
    return _made(Watching, chosen)


def watchers(
    settings: Watching | None, monitor: UncertaintyMonitor | None, folder: Path, progress: Progress
) -> list[Observer[MDState]]:
    """Observers that keep frames and stop systems; the one that stops is the last.

    Args:
        settings: none, no observers.
        monitor: none if the potential does not tell its uncertainty.
        folder: for ``candidates.xyz``.
        progress: for warnings.

    Raises:
        SimkitError: the potential does not tell its uncertainty, or it is not calibrated.
    """
    if settings is None:
        return []
    if monitor is None:
        raise SimkitError(
            "expected a potential that tells its uncertainty, such as an ensemble, found one that does not: make one "
            "of it with simkit calibrate, or leave out uncertainty in the workflow, --stop-above and --collect"
        )
    found: list[Observer[MDState]] = []
    if settings.collect is not None:
        if settings.stop_above is None and settings.quantity == "force_sigma":
            require_calibrated(monitor.potential.provenance, settings.allow_uncalibrated, progress)
        found.append(_collector(settings, settings.collect, monitor, folder))
    if settings.stop_above is not None:
        found.append(
            UncertaintyStop(
                monitor,
                settings.stop_above,
                quantity=settings.quantity,
                checks=settings.checks,
                of=settings.of,
                every=settings.every,
                allow_uncalibrated=settings.allow_uncalibrated,
                progress=progress,
            )
        )
    return found


def _collector(settings: Watching, collect: Collecting, monitor: UncertaintyMonitor, folder: Path) -> FrameCollector:
    return FrameCollector(
        folder / CANDIDATES,
        monitor,
        collect.above,
        math.inf if collect.below is None else collect.below,
        quantity=settings.quantity,
        every=settings.every,
        spacing=collect.spacing,
        at_most=collect.at_most,
    )


def _made(cls: type[T], values: Mapping[str, Any]) -> T:
    known = [field.name for field in fields(cls)]
    unknown = sorted(values.keys() - set(known))
    if unknown:
        raise SimkitError(f"expected settings of uncertainty among {', '.join(known)}; found {', '.join(unknown)}")
    return cls(**values)
