"""Training of a potential on labelled structures."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from simkit.datasets.base import Dataset
from simkit.datasets.combine import Concatenation, Subset
from simkit.datasets.extxyz import write_extxyz
from simkit.datasets.files import open_dataset
from simkit.datasets.splits import Split, hashes, split_by_group, split_random
from simkit.datasets.statistics import Statistics, compute_statistics
from simkit.errors import DataError
from simkit.files import write_json
from simkit.potential import Potential, symbols
from simkit.potentials.model_file import save_model
from simkit.progress import Progress, Silent
from simkit.training.architectures import Architecture, MaceArchitecture, Normalisation, Pretrained
from simkit.training.fine_tuning import ForReplay, pretrained_potential
from simkit.training.preparation import new_potential
from simkit.training.settings import TrainingSettings
from simkit.training.trainer import Outcome, Trainer
