"""Conformal intervals and calibrated deviations around pretrained models of other packages.

Usage, in an environment with simkit and the package of the model (their weights come with the packages)::

    python -P benchmarks/black_box.py chgnet mptrj-random-1k.xyz.gz [--shifted alexandria-random-1k.xyz.gz]
    python -P benchmarks/black_box.py sevennet mptrj-random-1k.xyz.gz

Frames of a file with PBE energies, forces and stresses are shared out at random: one half calibrates, the other tests.
The model is a black box: an ASE calculator. Printed are, for two scores, the share of test frames of which all forces
lie within the intervals of 90 %, the share of energies, both with the band that the size of the calibration allows, and
errors in units of the calibrated deviations. Intervals of frames from another file (``--shifted``) need not hold: their
coverage is printed too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from simkit.uncertainty.black_box import BlackBox
from simkit.uncertainty.conformal import coverage_band

LEVEL = 0.9


def calculator(name: str) -> Any:
    """A pretrained model with weights from its own package."""
    if name == "chgnet":
        from chgnet.model.dynamics import CHGNetCalculator

        return CHGNetCalculator(use_device="cpu")
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")


def read(path: str, atoms: int, count: int, seed: int) -> list[Atoms]:
    """Random frames of at most so many atoms, each its own group."""
    frames = [one for one in ase.io.read(path, ":") if 2 <= len(one) <= atoms]
    order = np.random.default_rng(seed).permutation(len(frames))[:count]
    chosen = [frames[index] for index in order]
    for one in chosen:
        one.info.pop("group", None)
    return chosen


def judge(box: BlackBox, frames: Sequence[Atoms]) -> dict[str, float]:
    """Shares within the intervals, and errors in units of deviations."""
    held, scaled, errors = [], [], []
    for frame in frames:
        found = box.predict(frame)
        inside = found.interval(LEVEL)
        labels = frame.calc.results
        assert found.forces is not None
        assert found.force_sigma is not None
        assert inside.forces_radius is not None
        assert inside.energy is not None
        error = found.forces.numpy() - labels["forces"]
        energy = abs(float(found.energy) - labels["energy"])
        radius = inside.forces_radius.numpy()
        held.append([(np.linalg.norm(error, axis=1) <= radius).all(), energy <= float(inside.energy)])
        scaled.append((error / found.force_sigma.numpy()[:, None]).ravel())
        errors.append(error.ravel())
    forces, energies = np.mean(held, 0)
    return {
        "frames": len(frames),
        "forces within": forces,
        "energies within": energies,
        "std(z) of forces": float(np.std(np.concatenate(scaled))),
        "forces MAE (meV/Å)": 1e3 * float(np.abs(np.concatenate(errors)).mean()),
    }


def main() -> None:
    """Fit and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("chgnet", "sevennet"))
    parser.add_argument("data")
    parser.add_argument("--shifted")
    parser.add_argument("--frames", type=int, default=400, help="for calibration and test together")
    parser.add_argument("--atoms", type=int, default=30, help="of the largest frames")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = calculator(options.model)
    frames = read(options.data, options.atoms, options.frames, options.seed)
    half = len(frames) // 2
    domains = {"same file": frames[half:]}
    if options.shifted:
        domains["other file"] = read(options.shifted, options.atoms, half, options.seed)
    low, high = coverage_band(half, LEVEL)
    print(f"{options.model}: {half} calibration frames; coverage of {LEVEL:g} lies in {low:.3f} to {high:.3f}")
    for score in ("constant", "force-norm"):
        box = BlackBox.fit(model, frames[:half], score=score)
        for name, part in domains.items():
            line = ", ".join(f"{key} {value:.4g}" for key, value in judge(box, part).items())
            print(f"score {score}, {name}: {line}")


if __name__ == "__main__":
    main()
