"""Every sampler, by the name that settings use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simkit.uncertainty.hamiltonian import HMC
from simkit.uncertainty.langevin import BAOA, PSGLD, SGHMC, SGLD
from simkit.uncertainty.sampler import HOTTEST, Move, Sampler, SamplerState

__all__ = ["BAOA", "HMC", "HOTTEST", "PSGLD", "SGHMC", "SGLD", "AnySampler", "Move", "Sampler", "SamplerState"]

AnySampler = Annotated[BAOA | PSGLD | SGLD | SGHMC | HMC, Field(discriminator="kind")]
