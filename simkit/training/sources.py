"""Where the frames of a training come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from simkit.settings import Settings


class SplitSettings(Settings):
    """How frames are kept for validation and test: fractions (below 1) or numbers of frames.

    ``by: group`` keeps frames of one group (trajectory, composition) together. ``train`` limits the training frames,
    e.g. for learning curves; by default they are all others.
    """

    validation: NonNegativeInt | NonNegativeFloat = 0.1
    test: NonNegativeInt | NonNegativeFloat = 0
    train: NonNegativeInt | PositiveFloat | None = None
    by: Literal["random", "group"] = "random"


class ReplaySettings(Settings):
    """Frames mixed with the training data so that a fine-tuned potential does not forget."""

    data: str
    head: NonNegativeInt | None = Field(default=None, description="index of their level of theory")
    weight: PositiveFloat = Field(default=1.0, description="of these frames in the loss")
