"""What makes a calibration worth little, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from simkit.datasets.base import Dataset
from simkit.errors import DataError
from simkit.tasks.overlap import shared_frames
from simkit.tasks.parity import Parity
from simkit.uncertainty.assessment import Assessment

LEVEL = 0.9
"""Of the intervals that are looked at."""
COVERED = 0.8
"""Share of the errors within them below which a calibration does not hold."""
OFF = 1.3
"""Errors in units of predicted deviations above which fewer than 90 % are too few."""
NAMES = {"energy": "energies", "forces": "components of the forces", "force-vectors": "forces", "stress": "stresses"}


def frames_in_several_parts(parts: Mapping[str, Dataset]) -> list[str]:
    """Warnings of calibration and test frames that are frames of another part too.

    Args:
        parts: ``training`` if it is known, ``calibration``, and the test domains by name.

    Raises:
        DataError: all calibration frames are training frames.
    """
    if len(parts) < 2:
        return []
    warnings = []
    for name, dataset in parts.items():
        if name == "training":
            continue
        shared = shared_frames(parts, name)
        if name == "calibration" and shared.get("training") == len(dataset):
            raise DataError(
                f"all {len(dataset)} calibration frames are training frames too, on which errors are too small: give "
                "frames that the model was not trained on"
            )
        for other in ("training", "calibration"):
            if other in shared and other != name:
                warnings.append(
                    f"{shared[other]} of {len(dataset)} {_called(name)} are {other} frames too, so the errors on them "
                    "are too small: take them out of one of the files"
                )
    return warnings


def groups_of_frames(calibration: Parity, training: Sequence[str]) -> list[str]:
    """Warnings of calibration frames whose trajectories are not known, or are those of training frames.

    Args:
        calibration: the frames.
        training: groups of the training frames, if they are known.
    """
    warnings = []
    known = [group for group in calibration.groups if group]
    if len(known) < len(calibration.groups):
        warnings.append(
            f"{len(calibration.groups) - len(known)} of {len(calibration.groups)} calibration frames name no "
            "trajectory, and each is taken as independent: name it by info['group'], or by reading.group_key"
        )
    shared = sorted({group for group in training if group} & set(known))
    if shared:
        count = sum(Counter(known)[group] for group in shared)
        warnings.append(
            f"{count} calibration frames are of groups that have training frames too ({', '.join(shared[:3])}): where "
            "these are trajectories, frames beside training frames have errors that are too small; take others"
        )
    return warnings


def calibration_that_does_not_hold(lines: Sequence[Assessment]) -> list[str]:
    """Warnings of domains where errors are much larger than their predicted deviations."""
    return [
        f"{line.domain}: errors of {NAMES[line.target]} are {line.values.z_std:.2g} times as large as predicted, and "
        f"{100 * line.values.coverage_90:.0f} % lie within intervals of 90 %: the calibration does not hold there"
        for line in lines
        if line.method == "model" and line.values.coverage_90 < (LEVEL if line.values.z_std > OFF else COVERED)
    ]


def _called(name: str) -> str:
    return "calibration frames" if name == "calibration" else f"test frames ({name})"
