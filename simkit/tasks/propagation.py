"""Molecular dynamics into a folder: trajectory, log, checkpoint, last frames and summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from ase import Atoms, units

from simkit.ase_border import ase_stress
from simkit.dynamics import LogFile, MDState, TrajectoryFile, live_note, start, usual_guards
from simkit.dynamics.deformation import require_bulk
from simkit.dynamics.force_field import Forces
from simkit.errors import SimkitError
from simkit.files import atomic_path, write_json
from simkit.flows import Checkpoint, Result, Status, integrate
from simkit.progress import Progress
from simkit.system import System
from simkit.tasks.ensembles import make_flow
from simkit.tasks.frames import attach, count_frames, write_frames
from simkit.tasks.md_log import summarise_log
from simkit.tasks.settings import CANDIDATES, Dynamics, numbers
from simkit.tasks.watching import watchers
from simkit.uncertainty.ase_results import in_words
from simkit.uncertainty.monitor import UncertaintyMonitor


def propagate(
    frames: Sequence[Atoms],
    forces: Forces,
    folder: Path,
    settings: Dynamics,
    *,
    identity: dict[str, Any],
    progress: Progress,
    device: str = "cpu",
    title: str = "",
    monitor: UncertaintyMonitor | None = None,
) -> dict[str, Any]:
    """Run dynamics of one or many systems; files and summary as in :func:`simkit.tasks.dynamics.run_md`.

    Args:
        frames: the systems at the start.
        forces: of them.
        folder: where results go.
        settings: of the dynamics.
        identity: JSON-compatible facts that must be the same for a run to be continued.
        progress: where progress is shown.
        device: torch device of the state.
        title: of the progress bar.
        monitor: of the uncertainty, for the log and for ``settings.uncertainty``.

    Returns:
        What ``md.json`` holds.

    Raises:
        SimkitError: settings that make no sense, a folder that holds a run with other settings, or a start that is out
            of bounds.
    """
    settings.require_sense()
    if folder.exists() and not folder.is_dir():
        raise SimkitError(f"expected a folder for the results, found the file {folder}: give another name")
    _require_lists(settings, len(frames))
    generator = torch.Generator(device).manual_seed(settings.seed)
    state = _start(frames, settings, device, generator)
    if settings.constant_pressure:
        require_bulk(state)
    state = forces(state)
    identity = identity | {
        name: value for name, value in asdict(settings).items() if name not in ("steps", "uncertainty")
    }
    if settings.uncertainty is not None:
        identity["uncertainty"] = asdict(settings.uncertainty)
    steps = torch.tensor(numbers(settings.timestep), dtype=torch.float64, device=device).expand(len(frames))
    saved = settings.save_every
    trajectory = TrajectoryFile(
        folder / "trajectory.h5",
        saved,
        precision=settings.precision,
        frames_per_chunk=max(1, settings.checkpoint_every // saved),
    )
    result = integrate(
        make_flow(settings, forces, generator),
        state,
        steps,
        settings.steps,
        observers=[
            LogFile(folder / "log.csv", settings.log_every, None if monitor is None else monitor.columns),
            trajectory,
            *watchers(settings.uncertainty, monitor, folder, progress),
        ],
        guards=usual_guards(state.system, max_temperature=settings.max_temperature),
        checkpoint=Checkpoint(folder / "checkpoint.safetensors", settings.checkpoint_every, identity),
        generators=[generator],
        progress=progress,
        title=title or f"MD {settings.ensemble}",
        note=live_note(steps),
    )
    words = {} if monitor is None else {"uncertainty": in_words(monitor.potential.provenance)}
    return _finish(result, forces, folder, settings, words)


def _finish(
    result: Result[MDState], forces: Forces, folder: Path, settings: Dynamics, facts: dict[str, Any]
) -> dict[str, Any]:
    last = final_frames(forces(result.state), result)
    with atomic_path(folder / "final.xyz") as temporary:
        write_frames(temporary, last)
    summary = summarise_log(folder / "log.csv", last, settings, result.outcomes) | facts
    if (folder / CANDIDATES).exists():
        summary["collected_frames"] = count_frames(folder / CANDIDATES)
    speed = result.done / max(result.seconds, 1e-9)
    timestep = sum(numbers(settings.timestep)) / len(numbers(settings.timestep))
    if result.done:
        summary["ns_per_day"] = speed * timestep * 0.0864
        summary["atom_steps_per_s"] = speed * result.state.system.n_atoms
    write_json(folder / "md.json", summary)
    return summary


def final_frames(state: MDState, result: Result[MDState]) -> list[Atoms]:
    """The systems as ASE atoms with momenta, energies, forces and stress, and how they ended."""
    counts = state.system.counts.tolist()
    assert state.energy is not None
    assert state.forces is not None
    momenta, forces = state.momenta.cpu().split(counts), state.forces.cpu().split(counts)
    frames = []
    for index, atoms in enumerate(state.system.to_ase()):
        atoms.set_momenta(momenta[index].double().numpy() * units.fs, apply_constraint=False)
        stress = None
        if state.virial is not None and atoms.pbc.all():
            stress = ase_stress(state.virial[index].double().cpu().numpy(), atoms)
        outcome = result.outcomes[index]
        atoms.info |= {"step": outcome.steps, "time_fs": float(state.time[index]), "status": str(outcome.status)}
        energy = float(state.energy[index])
        frames.append(attach(atoms, energy=energy, forces=forces[index].double().numpy(), stress=stress))
    return frames


def _start(frames: Sequence[Atoms], settings: Dynamics, device: str, generator: torch.Generator) -> MDState:
    system = System.from_ase(list(frames), device=device)
    masses = torch.cat([torch.as_tensor(one.get_masses()) for one in frames]).to(system.positions)
    wanted = settings.temperature
    state = start(
        system, wanted if isinstance(wanted, float | int) else list(wanted), generator=generator, masses=masses
    )
    if settings.velocities == "draw":
        return state
    missing = [index for index, one in enumerate(frames) if not one.has("momenta")]
    if missing:
        raise SimkitError(
            f"expected velocities in the structure file, found none in frames {missing[:10]}: use velocities: draw, or "
            "a file with momenta such as final.xyz of an earlier run"
        )
    momenta = torch.cat([torch.as_tensor(one.get_momenta()) for one in frames]).to(system.positions) / units.fs
    if system.fixed is not None:
        momenta = momenta.masked_fill(system.fixed[:, None], 0)
    kept = replace(state, momenta=momenta)
    return kept.without_drift(kept.free())


def _require_lists(settings: Dynamics, systems: int) -> None:
    if settings.copies not in (1, systems):
        raise SimkitError(
            f"expected one number for all of the {systems} systems in each setting, or one for each; found "
            f"{settings.copies} in some"
        )


def stopped_problems(summary: dict[str, Any]) -> list[str]:
    """Why systems stopped, from a summary of :func:`propagate`."""
    systems = summary.get("systems", [summary])
    return [one["remedy"] for one in systems if "remedy" in one]


def has_failed(summary: dict[str, Any]) -> bool:
    """Whether no system reached the end, or the place where it was to stop."""
    return all(one["status"] not in (Status.FINISHED, Status.UNCERTAIN) for one in summary.get("systems", [summary]))
