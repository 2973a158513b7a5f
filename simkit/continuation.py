"""Whether a run that is there may be continued."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from simkit.errors import SimkitError

SHOWN = 5
"""Number of differences that are spelt out."""


def require_same_run(
    path: Path, saved: dict[str, Any], present: dict[str, Any], *, changeable: Collection[str] = ()
) -> None:
    """Check that an interrupted run was started with the settings it is continued with.

    Args:
        path: file or folder of the run.
        saved: nested facts about the run that is there.
        present: the same facts about the run that wants to continue it.
        changeable: names, with dots, that may differ with all that is within them.

    Raises:
        SimkitError: naming what differs.
    """
    old, new = _flat(saved), _flat(present)
    free = tuple(f"{name}." for name in changeable)
    changed = [
        name
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not f"{name}.".startswith(free)
    ]
    if not changed:
        return
    differences = "; ".join(f"{name}: {old.get(name)} there, {new.get(name)} now" for name in changed[:SHOWN])
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    may = f" ({', '.join(sorted(changeable))} may change)" if changeable else ""
    raise SimkitError(
        f"{path} belongs to a run with other settings ({differences}{more}): give another folder, remove that one, "
        f"or restore the settings to continue it{may}"
    )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix.rstrip("."): tree}
    return {key: value for name, branch in tree.items() for key, value in _flat(branch, f"{prefix}{name}.").items()}
