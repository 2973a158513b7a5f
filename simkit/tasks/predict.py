"""Predict energies, forces and stress of all structures of a file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms
from numpy import ndarray

from simkit.ase_border import ase_stress, has_volume
from simkit.errors import InvalidSystemError, SimkitError
from simkit.evaluation import Prediction, evaluate
from simkit.files import atomic_path, file_hash
from simkit.graph import require_separated
from simkit.neighbours import Neighbours, build_neighbours
from simkit.potential import IgnoredConditions, Potential
from simkit.progress import Progress, Silent, Task
from simkit.system import System
from simkit.tasks.frames import (
    attach,
    count_frames,
    frame_name,
    keep_references,
    naming,
    read_frames,
    require_extxyz,
    write_frames,
)
from simkit.tasks.models import grouped_by_atoms, open_model, require_usable
from simkit.tasks.settings import BATCH_ATOMS
from simkit.uncertainty.ase_results import OF_SYSTEM, keep_in_atoms, known_uncertainties
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.prediction import UncertainPrediction


def predict_file(
    model: str | os.PathLike[str],
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    dtype: str | None = None,
    device: str = "cpu",
    batch_atoms: int = BATCH_ATOMS,
    head: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write every structure of a file with the energy, forces and, if periodic, stress that a model predicts.

    The output is extended XYZ with ASE's own keys (``energy`` in eV, ``forces`` in eV/Å, ``stress`` in eV/Å³ per
    ``atoms.get_volume()``), so that ``ase.io.read`` puts them into ``atoms.calc``. All other data of the frames stay:
    ``info``, arrays, constraints. Energies and forces that they came with are kept as ``REF_energy`` and so on.
    Uncertain potentials also leave ``info["energy_std"]`` (eV), ``info["stress_std"]`` (eV/Å³), the text
    ``info["uncertainty"]`` (the method, and whether it is calibrated) and arrays such as ``force_sigma`` (eV/Å); see
    :mod:`simkit.uncertainty.ase_results`.

    Args:
        model: own model file or one of mace-torch.
        source: structures in any format that ASE reads; they are streamed.
        target: file to write, ``.xyz`` or ``.extxyz``; it appears when it is complete.
        dtype: ``float64`` or ``float32``; the model's own by default.
        device: torch device.
        batch_atoms: number of atoms that are evaluated together.
        head: level of theory, for models trained on several.
        progress: where progress is shown.

    Returns:
        Numbers of frames and atoms, speed, hash of the model.

    Raises:
        DataError: the source cannot be read, or the target does not end in .xyz.
        UnsupportedElementError: naming the first frame with an element that the model was not made for.
        InvalidSystemError: naming the frame that is malformed.
    """
    path, progress = require_extxyz(target), progress or Silent()
    potential = open_model(model, device=device, dtype=dtype, head=head)
    total = count_frames(source)
    start = time.perf_counter()
    with progress.task("predict", total) as task, atomic_path(path) as temporary:
        counter = _Counter(task)
        write_frames(temporary, counter.counted(predicted(potential, source, batch_atoms, progress)))
    seconds = time.perf_counter() - start
    return {
        "frames": counter.frames,
        "atoms": counter.atoms,
        "frames_with_references": counter.references,
        "atoms_per_second": counter.atoms / seconds,
        "dtype": str(potential.dtype).removeprefix("torch."),
        "model_sha256": file_hash(model),
        "citations": list(potential.capabilities.citations),
    }


def predicted(
    potential: Potential, source: str | os.PathLike[str], batch_atoms: int, progress: Progress
) -> Iterator[Atoms]:
    """The frames of a file with predictions as results, one after the other."""
    named = ((frame_name(source, index, atoms), atoms) for index, atoms in enumerate(read_frames(source)))
    ignored = IgnoredConditions(potential, progress)
    for group in grouped_by_atoms(named, lambda pair: len(pair[1]), batch_atoms):
        names = [name for name, _ in group]
        yield from predict_batch(potential, [atoms for _, atoms in group], names, ignored)


def predict_batch(
    potential: Potential, frames: list[Atoms], names: list[str], ignored: IgnoredConditions | None = None
) -> list[Atoms]:
    """Give frames the predicted results, evaluated as one batch; changes the frames.

    Raises:
        UnsupportedElementError, InvalidSystemError: naming the frame.
    """
    for name, atoms in zip(names, frames, strict=True):
        require_usable(potential, atoms, name, ignored)
    system = System.from_ase(frames, dtype=potential.dtype, device=potential.device)
    neighbours = build_neighbours(system, potential.cutoff)
    _check_distances(system, neighbours, names)
    strained = potential.capabilities.conservative and bool(system.pbc.any())
    prediction, virials = _predicted(potential, system, neighbours, strained)
    assert prediction.forces is not None
    ends = np.cumsum([len(atoms) for atoms in frames])[:-1]
    forces = np.split(prediction.forces.double().cpu().numpy(), ends)
    for index, atoms in enumerate(frames):
        energy = float(prediction.energy[index])
        if not (np.isfinite(energy) and np.isfinite(forces[index]).all()):
            raise SimkitError(f"{names[index]}: the model gives values that are not finite; check the structure")
        keep_references(atoms)
        stress = None
        if virials is not None and atoms.pbc.any() and has_volume(atoms):
            stress = ase_stress(virials[index], atoms)
        attach(atoms, energy=energy, forces=forces[index], stress=stress)
    if isinstance(prediction, UncertainPrediction):
        for atoms, results in zip(frames, _uncertainties(prediction, ends), strict=True):
            keep_in_atoms(atoms, results, prediction.provenance)
    return frames


def _uncertainties(prediction: UncertainPrediction, ends: ndarray) -> list[dict[str, Any]]:
    """What is known of each frame; the stress of those that are not periodic along three axes is not."""
    results: list[dict[str, Any]] = [{} for _ in range(len(prediction.energy))]
    for name, values in known_uncertainties(prediction).items():
        array = values.double().cpu().numpy()
        for result, value in zip(results, array if name in OF_SYSTEM else np.split(array, ends), strict=True):
            if np.isfinite(value).all():
                result[name] = value if np.ndim(value) else float(value)
    return results


def _predicted(
    potential: Potential, system: System, neighbours: Neighbours, strained: bool
) -> tuple[Prediction | UncertainPrediction, ndarray | None]:
    """The prediction and, of periodic systems, the virials in eV."""
    if not isinstance(potential, UncertainPotential):
        outputs = ("energy", "forces", "virial") if strained else ("energy", "forces")
        found = evaluate(potential, system, neighbours, outputs)
        return found, None if found.virial is None else found.virial.double().cpu().numpy()
    uncertain = potential.predict(
        system, neighbours, ("energy", "forces", "stress") if strained else ("energy", "forces")
    )
    if uncertain.stress is None:
        return uncertain, None
    virials = -uncertain.stress.double() * system.volume().double()[:, None, None]
    if bool(virials.isnan().any()):  # the stress of slabs is not defined, but their virial is
        of_slabs = evaluate(potential, system, neighbours, ("energy", "virial")).virial
        assert of_slabs is not None
        virials = of_slabs.double()
    return uncertain, virials.cpu().numpy()


def _check_distances(system: System, neighbours: Neighbours, names: list[str]) -> None:
    try:
        require_separated(system, neighbours)
    except InvalidSystemError:
        for name, one in zip(names, system.split(), strict=True):
            with naming(name):
                require_separated(one, build_neighbours(one, neighbours.cutoff))
        raise


class _Counter:
    """Counts frames that pass by, for the progress and the summary."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.frames = self.atoms = self.references = 0

    def counted(self, frames: Iterator[Atoms]) -> Iterator[Atoms]:
        for atoms in frames:
            self.frames += 1
            self.atoms += len(atoms)
            self.references += "REF_energy" in atoms.info or "REF_forces" in atoms.arrays
            yield atoms
            self.task.advance()
