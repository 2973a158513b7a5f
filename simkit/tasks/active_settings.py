"""Settings of active learning, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass

from simkit.errors import SimkitError


@dataclass(frozen=True)
class Learning:
    """How a potential learns from frames that it finds itself.

    Attributes:
        members: of the committee.
        rounds: at most, after the training on the first frames.
        target: the root-mean-square error of the forces on fresh frames, in eV/Å, at which learning ends; without one
            all rounds are done.
        batch: uncertain frames that are labelled in a round.
        fresh: frames that are labelled in a round without any choice; they judge and calibrate the committee, and are
            training frames from the next round on.
        validation: share of all labelled frames that choose the best epochs.
        walkers: systems that explore side by side.
        steps: of each walker in a round.
        timestep: in fs.
        temperatures: in K, shared out among the walkers.
        friction: of Langevin dynamics, in 1/fs.
        save_every: steps between frames to choose from.
        uncertain: frames are candidates from this quantile of the uncertainty on known frames on.
        absurd: a walker stops at so many times that uncertainty; frames above are not labelled.
        closest: shortest distance of two atoms in frames that are labelled, in units of the sum of covalent radii.
    """

    members: int = 4
    rounds: int = 5
    target: float | None = None
    batch: int = 20
    fresh: int = 10
    validation: float = 0.2
    walkers: int = 10
    steps: int = 2000
    timestep: float = 0.5
    temperatures: tuple[float, ...] = (300.0,)
    friction: float = 0.01
    save_every: int = 20
    uncertain: float = 0.95
    absurd: float = 5.0
    closest: float = 0.5

    def require_sense(self) -> None:
        """Check the numbers.

        Raises:
            SimkitError: naming one that makes no sense.
        """
        for name, least in (("members", 2), ("rounds", 1), ("batch", 0), ("fresh", 2), ("walkers", 1), ("steps", 1)):
            if getattr(self, name) < least:
                raise SimkitError(f"expected {name} of at least {least}, found {getattr(self, name)}")
        if not (0 < self.validation < 1 and 0 < self.uncertain < 1 < self.absurd):
            raise SimkitError(
                "expected validation and uncertain between 0 and 1, and absurd above 1; found "
                f"{self.validation}, {self.uncertain} and {self.absurd}"
            )
        if not self.temperatures or (self.target is not None and not self.target > 0):
            raise SimkitError(f"expected temperatures in K and a positive target in eV/Å, found {self.target}")
