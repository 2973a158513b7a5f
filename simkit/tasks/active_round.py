"""One round of active learning: train, calibrate, explore, choose, label, judge. Each part is done once and kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from simkit.dynamics import ForceField
from simkit.files import file_hash, write_json
from simkit.progress import Progress
from simkit.system import System
from simkit.tasks.active_choice import choose
from simkit.tasks.active_labels import label_kept
from simkit.tasks.active_settings import Learning
from simkit.tasks.assess import assess_file
from simkit.tasks.calibrate import calibrate_files
from simkit.tasks.frames import read_frames
from simkit.tasks.labellers import Labeller
from simkit.tasks.models import open_model
from simkit.tasks.propagation import propagate
from simkit.tasks.settings import PRECISION, Collecting, Dynamics, Watching
from simkit.tasks.train import train_files
from simkit.training.architectures import Architecture, Pretrained
from simkit.training.settings import TrainingSettings
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.monitor import UncertaintyMonitor
from simkit.uncertainty.stop_rule import Thresholds, thresholds


@dataclass(frozen=True)
class Round:
    """A round in its folder, with the models of the one before.

    Attributes:
        folder: of the round, with ``train.xyz`` and ``valid.xyz``.
        index: from 0.
        settings: of the learning.
        architecture: of new potentials.
        training: of this round.
        earlier: the round before, whose models are trained further; none at first.
        labeller: that labels.
        seed: of this round.
        device: torch device.
        progress: where progress is shown.
    """

    folder: Path
    index: int
    settings: Learning
    architecture: Architecture
    training: TrainingSettings
    earlier: Round | None
    labeller: Labeller
    seed: int
    device: str
    progress: Progress

    @property
    def models(self) -> list[Path]:
        """Model files of the members."""
        return [self.folder / f"member{index}" / "model.simkit" for index in range(self.settings.members)]

    def run(self) -> dict[str, Any]:
        """All parts in turn; those whose results are there are not done again.

        Returns:
            A row of the table of rounds.
        """
        done = self.folder / "round.json"
        if done.exists():
            return dict(json.loads(done.read_text(encoding="utf-8")))
        self._train()
        self._calibrate("valid.xyz", "committee")
        explored = self._explore()
        chosen = self._choose()
        fresh = self.label("fresh")
        self._calibrate("fresh.xyz", "judged")
        errors = assess_file(self.folder / "committee" / "model.simkit", self.folder / "fresh.xyz", device=self.device)
        known = [sum(1 for _ in read_frames(self.folder / f"{name}.xyz")) for name in ("train", "valid")]
        row = {
            "round": self.index,
            "training_frames": known[0],
            "validation_frames": known[1],
            "fresh_frames": fresh,
            "chosen_frames": chosen,
            "fresh_forces_rmse_mev_per_ang": errors["forces_rmse_mev_per_ang"],
            "fresh_energy_rmse_mev_per_atom": errors["energy_rmse_mev_per_atom"],
            "fresh_forces_z_rms": errors["forces_z_rms"],
            "walkers_stopped": sum(one["status"] != "finished" for one in explored.get("systems", [explored])),
        }
        write_json(done, row)
        return row

    def _train(self) -> None:
        """Members from other seeds, or from what they were in the round before."""
        before = [None] * len(self.models) if self.earlier is None else self.earlier.models
        for member, (path, source) in enumerate(zip(self.models, before, strict=True)):
            if path.exists():
                continue
            start = self.architecture
            if source is not None:
                start = Pretrained(model=str(source), reference_energies="keep")
            self.progress.say(f"Round {self.index}: train member {member + 1} of {len(self.models)}")
            train_files(
                self.folder / "train.xyz",
                path.parent,
                architecture=start,
                training=self.training,
                validation=self.folder / "valid.xyz",
                seed=derived_seed(self.seed, 0, member),
                device=self.device,
                progress=self.progress,
            )

    def _calibrate(self, data: str, name: str) -> None:
        folder = self.folder / name
        if not (folder / "calibration.json").exists():
            calibrate_files(
                self.models, self.folder / data, folder, repeats=0, device=self.device, progress=self.progress
            )

    @cached_property
    def _committee(self) -> UncertainPotential:
        potential = open_model(self.folder / "committee" / "model.simkit", device=self.device, dtype=PRECISION)
        assert isinstance(potential, UncertainPotential)
        return potential

    def _explore(self) -> dict[str, Any]:
        """Walkers from known frames, until they are lost."""
        done = self.folder / "explore" / "md.json"
        if done.exists():
            return dict(json.loads(done.read_text(encoding="utf-8")))
        known = molecules(self.folder / "train.xyz")
        random = np.random.default_rng(derived_seed(self.seed, 1))
        starts = [known[index] for index in random.choice(len(known), self.settings.walkers)]
        bounds = self._bounds()
        hot = self.settings.temperatures
        dynamics = Dynamics(
            ensemble="langevin",
            timestep=self.settings.timestep,
            steps=self.settings.steps,
            temperature=tuple(hot[index % len(hot)] for index in range(len(starts))),
            friction=self.settings.friction,
            seed=derived_seed(self.seed, 2),
            save_every=self.settings.save_every,
            log_every=self.settings.save_every,
            checkpoint_every=10 * self.settings.save_every,
            precision="float64",
            uncertainty=Watching(
                bounds.high,
                checks=2,
                of=3,
                every=self.settings.save_every,
                collect=Collecting(bounds.low, bounds.high, spacing=self.settings.save_every, at_most=100_000),
            ),
        )
        identity = {"committee": file_hash(self.folder / "committee" / "model.simkit")}
        return propagate(
            starts, ForceField(self._committee), self.folder / "explore", dynamics, identity=identity,
            progress=self.progress, device=self.device, title=f"round {self.index}: explore",
            monitor=UncertaintyMonitor(self._committee),
        )  # fmt: skip

    def _bounds(self) -> Thresholds:
        """From the uncertainty on all frames that are known."""
        known = [*molecules(self.folder / "train.xyz"), *molecules(self.folder / "valid.xyz")]
        largest = []
        for atoms in known:
            found = self._committee.predict(System.from_ase(atoms, device=self.device))
            assert found.force_sigma is not None
            largest.append(float(found.force_sigma.max()))
        quantile = min(self.settings.uncertain, 1 - 1 / len(largest))
        return thresholds(np.array(largest), quantile, self.settings.absurd)

    def label(self, kind: str) -> int:
        """Label the ``fresh`` frames, or those that are ``chosen``, which only a further round needs; their number."""
        title = f"round {self.index}: label {kind} frames"
        return label_kept(self.folder, kind, self.labeller, self.progress, title)

    def _choose(self) -> int:
        """Frames to label, see :mod:`simkit.tasks.active_choice`; the number of those that are chosen."""
        path = self.folder / "to_label.json"
        if not path.exists():
            features = open_model(self.models[0], device=self.device, dtype=PRECISION)
            random = np.random.default_rng(derived_seed(self.seed, 3))
            write_json(path, choose(self.folder, self.settings, features, random, f"round {self.index}"))
        return int(json.loads(path.read_text(encoding="utf-8"))["chosen"])


def derived_seed(seed: int, *key: int) -> int:
    """A seed of its own for each random choice."""
    return int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])


def molecules(path: Path) -> list[Atoms]:
    """The frames of a file that are not isolated atoms."""
    return [one for one in read_frames(path) if len(one) > 1]
