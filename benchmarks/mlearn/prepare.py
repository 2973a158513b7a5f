"""Write training and test files of silicon and copper from a copy of the mlearn data.

    python -P benchmarks/mlearn/prepare.py MLEARN_FOLDER workflows/data

MLEARN_FOLDER holds ``Si/training.json.gz``, ``Si/test.json.gz``, ``Cu/test.json.gz`` and either ``Cu/training.json.gz``
(github.com/materialsvirtuallab/mlearn) or ALIGNN's re-encoding of it, ``Cu/alignn_id_prop.json.gz``, whose first 262
records are the training set (the others repeat the test set, with wrong stresses).
"""

import argparse
from pathlib import Path

from simkit.datasets.combine import Subset
from simkit.datasets.extxyz import write_extxyz
from simkit.datasets.files import open_dataset

ALIGNN_TRAINING_RECORDS = 262


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    for element in ("Si", "Cu"):
        folder = arguments.source / element
        if (folder / "training.json.gz").exists():
            training = open_dataset(folder / "training.json.gz")
        else:
            training = Subset(open_dataset(folder / "alignn_id_prop.json.gz"), range(ALIGNN_TRAINING_RECORDS))
        test = open_dataset(folder / "test.json.gz")
        for name, dataset in (("train", training), ("test", test)):
            path = arguments.target / f"{element}_{name}.xyz"
            write_extxyz(path, dataset)
            print(f"{path}: {len(dataset)} frames")


if __name__ == "__main__":
    main()
