"""Potentials that exist, made ready to be trained on other data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from simkit.datasets.base import Dataset, Frame, collate
from simkit.datasets.combine import Concatenation
from simkit.datasets.statistics import fit_reference_energies
from simkit.errors import DataError, SimkitError
from simkit.evaluation import evaluate
from simkit.potential import Potential, symbols
from simkit.potentials.elements import ReferenceEnergies
from simkit.potentials.mace import MACE
from simkit.potentials.model_file import load_model
from simkit.progress import Progress, Silent
from simkit.training.architectures import Pretrained
from simkit.training.elements import can_change_elements, with_other_elements


class ForReplay(Dataset):
    """Another dataset's frames with a level of theory and a weight, to be mixed with new data.

    Args:
        dataset: whose frames.
        head: index of the level of theory; None to keep that of the frames.
        weight: factor on the weights of the frames.
    """

    def __init__(self, dataset: Dataset, head: int | None = None, weight: float = 1.0) -> None:
        self.dataset = dataset
        self.head = head
        self.weight = weight

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        frame = self.dataset[index]
        system = frame.system
        if self.head is not None:
            system = replace(system, head=torch.full((1,), self.head, dtype=torch.int64))
        return replace(frame, system=system, weight=self.weight * frame.weight)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the dataset."""
        return self.dataset.files


def with_replay(frames: Dataset, replayed: Dataset, head: int | None, weight: float, potential: Potential) -> Dataset:
    """Frames followed by replayed ones, see :class:`ForReplay`.

    If these have a head, the others get that of systems that name none: in a batch the lack of one means head 0.
    """
    if head is not None:
        frames = ForReplay(frames, potential.default_head if isinstance(potential, MACE) else 0)
    return Concatenation([frames, ForReplay(replayed, head, weight)])


def pretrained_potential(
    settings: Pretrained,
    path: Path,
    elements: Sequence[int],
    training: Dataset,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Potential:
    """A potential from a file, with the elements of the data and refitted reference energies as the settings say.

    Elements that the model lacked start from random weights; their reference energies are fitted in any case.

    Args:
        settings: what to change.
        path: the model file.
        elements: atomic numbers of the training data.
        training: frames for the refit.
        seed: of the weights of new elements.
        device: where to evaluate the frames.
        progress: of the refit.

    Raises:
        ModelFileError: the file cannot be read.
        SimkitError: elements of the data that the model lacks, or that it cannot be given.
    """
    potential = load_model(path, head=settings.head)
    own = potential.capabilities.elements
    torch.manual_seed(seed)
    potential = _with_elements(potential, settings, elements).to(device).train()
    kept = () if settings.reference_energies == "refit" else own
    if set(potential.capabilities.elements) - set(kept):
        refit_reference_energies(potential, training, kept=kept, progress=progress)
    return potential


def _with_elements(potential: Potential, settings: Pretrained, elements: Sequence[int]) -> Potential:
    own = set(potential.capabilities.elements)
    missing = set(elements) - own
    if settings.elements == "keep":
        if missing:
            remedy = (
                "say elements: add, or elements: data, to give it these"
                if can_change_elements(potential)
                else f"a {potential.kind} potential cannot be given others; remove these frames, or train a new one"
            )
            raise SimkitError(
                f"the model supports {symbols(own)}, the training data also contain {symbols(missing)}: {remedy}"
            )
        return potential
    wanted = sorted(own | set(elements)) if settings.elements == "add" else sorted(elements)
    return potential if set(wanted) == own else with_other_elements(potential, wanted)


def refit_reference_energies(
    potential: Potential,
    dataset: Dataset,
    *,
    kept: Iterable[int] = (),
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Float[Tensor, "heads elements"]:
    """Change the reference energies E0 so that the energies of a dataset are met best, and return the changes in eV.

    The changes d minimise ``Σ_frames (E_label - E_model - Σ_atoms d[head, element])²``; where compositions leave them
    undetermined, the smallest are taken. Which reference energy an atom has is observed while the potential runs, so
    that each level of theory is refitted to its own frames, also of a potential within others.

    Args:
        potential: what is changed.
        dataset: frames, of which those with energies count.
        kept: atomic numbers of elements that do not change.
        batch_size: frames that are evaluated together.
        progress: of the evaluation.

    Raises:
        DataError: no frame has an energy.
        SimkitError: the potential has no reference energies, or several sets.
    """
    references = _references(potential)
    missed: dict[tuple[tuple[int, int], ...], list[float]] = {}
    numbers: dict[int, int] = {}
    with (progress or Silent()).task("reference energies", len(dataset)) as task:
        for first in range(0, len(dataset), batch_size):
            indices = range(first, min(first + batch_size, len(dataset)))
            frames = [dataset[index] for index in indices]
            _add_missed(missed, numbers, potential, [frame for frame in frames if frame.labels.energy is not None])
            task.advance(len(indices))
    if not missed:
        raise DataError("expected training frames with energies to refit the reference energies to, found none")
    kept = set(kept)
    fitted, _ = fit_reference_energies(missed, {place: 0.0 for place, z in numbers.items() if z in kept})
    changes = torch.zeros_like(references.values)
    for place, change in fitted.items():
        changes.view(-1)[place] = change
    references.values += changes
    return changes


def _references(potential: Potential) -> ReferenceEnergies:
    found = [module for module in potential.modules() if isinstance(module, ReferenceEnergies)]
    if len(found) != 1:
        raise SimkitError(
            f"expected a potential with one set of reference energies to refit, found {len(found)} in this "
            f"{potential.kind} potential: say reference_energies: keep"
        )
    return found[0]


def _add_missed(
    missed: dict[tuple[tuple[int, int], ...], list[float]],
    numbers: dict[int, int],
    potential: Potential,
    frames: Sequence[Frame],
) -> None:
    """Collect label minus prediction by the places of the atoms' E0 in the flat array, and what element is there."""
    if not frames:
        return
    batch = collate(frames, potential.cutoff, potential.dtype).to(potential.device)
    with torch.no_grad(), _observed_places(_references(potential)) as calls:
        energies = evaluate(potential, batch.system, batch.neighbours, ("energy",)).energy.tolist()
    places = torch.stack(calls)
    numbers.update(zip(places[0].tolist(), batch.system.numbers.tolist(), strict=True))
    for index, (frame, energy) in enumerate(zip(frames, energies, strict=True)):
        composition = tuple(sorted(Counter(places[:, batch.system.batch == index].flatten().tolist()).items()))
        assert frame.labels.energy is not None
        missed.setdefault(composition, []).append(float(frame.labels.energy[0]) - energy)


@contextmanager
def _observed_places(references: ReferenceEnergies) -> Iterator[list[Int[Tensor, " atoms"]]]:
    """For each call of the reference energies within the block, the places of the atoms' in the flat array."""
    calls: list[Tensor] = []
    places = torch.arange(references.values.numel(), device=references.values.device).view_as(references.values)

    def observe(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        head = given[1] if len(given) == 2 else 0
        calls.append(places[head, given[0]])

    hook = references.register_forward_hook(observe)
    try:
        yield calls
    finally:
        hook.remove()
