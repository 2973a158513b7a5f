"""Frames of 3BPA for the comparison of uncertainties: trained at 300 K, judged at 300, 600 and 1200 K.

    python -P benchmarks/uncertainty/molecule_data.py 3BPA_FOLDER FOLDER

3BPA_FOLDER holds ``train_300K.xyz``, ``train_mixedT.xyz`` and ``iso_atoms.xyz`` of the BOTNet datasets (D. P. Kovács et
al., J. Chem. Theory Comput. 17, 7696 (2021); github.com/davkovacs/BOTNet-datasets). Written are ``train.xyz`` (400
frames at 300 K and the isolated atoms), ``calibration.xyz`` (the other 100), and ``test_300.xyz``, ``test_600.xyz``,
``test_1200.xyz``: the thirds of the second file, without frames that are also in the first. This is not the published
test set.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write

TEMPERATURES = {300: slice(0, 167), 600: slice(167, 334), 1200: slice(334, 500)}


def key(frame: Atoms) -> bytes:
    return np.round(frame.positions, 4).tobytes()


def main() -> None:
    """Write the five files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    options.target.mkdir(parents=True, exist_ok=True)
    cold, mixed, atoms = (
        read(options.source / f"{name}.xyz", ":") for name in ("train_300K", "train_mixedT", "iso_atoms")
    )
    order = np.random.default_rng(0).permutation(len(cold))
    for frame in atoms:
        frame.info["config_type"] = "IsolatedAtom"
    known = {key(frame) for frame in cold}
    parts = {"train": [*atoms, *[cold[i] for i in order[:400]]], "calibration": [cold[i] for i in order[400:]]}
    for temperature, part in TEMPERATURES.items():
        parts[f"test_{temperature}"] = [frame for frame in mixed[part] if key(frame) not in known]
    for name, frames in parts.items():
        write(options.target / f"{name}.xyz", frames)
        print(f"{name}.xyz: {len(frames)} frames")


if __name__ == "__main__":
    main()
