from pathlib import Path

import pytest

from simkit.continuation import require_same_run
from simkit.errors import SimkitError

OLD = {"settings": {"loss": {"energy": 1.0}, "max_epochs": 5}, "seed": 1}


def run(energy=1.0, epochs=5):
    return {"settings": {"loss": {"energy": energy}, "max_epochs": epochs}, "seed": 1}


def test_what_differs_is_named():
    require_same_run(Path("a"), OLD, run())
    with pytest.raises(SimkitError, match=r"^a belongs to .*\(settings.loss.energy: 1.0 there, 2.0 now\)"):
        require_same_run(Path("a"), OLD, run(energy=2.0))
    with pytest.raises(SimkitError, match=r"seed: 1 there, None now"):
        require_same_run(Path("a"), OLD, {"settings": OLD["settings"]})


def test_what_may_change():
    require_same_run(Path("a"), OLD, run(epochs=9), changeable=["settings.max_epochs"])
    require_same_run(Path("a"), OLD, run(energy=2.0), changeable=["settings.loss"])
    with pytest.raises(SimkitError, match=r"max_epochs: 5 there, 9 now.*\(settings.max may change\)"):
        require_same_run(Path("a"), OLD, run(epochs=9), changeable=["settings.max"])
