"""What can be trained: new potentials of each architecture, and potentials that exist."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from simkit.errors import SimkitError
from simkit.potentials.options import (
    DistanceTransform,
    Envelope,
    Gate,
    Interaction,
    RadialBasis,
    Repulsion,
    check_mace,
)
from simkit.settings import Settings


class MaceArchitecture(Settings):
    """A new MACE; the fields are arguments of :class:`simkit.potentials.mace.MACE`, of which it lacks those for several
    levels of theory, ``edge_irreps`` and ``element_weights``, and has one ``correlation`` for all layers.

    Reference: I. Batatia et al., NeurIPS 2022, arXiv:2206.07697.
    """

    kind: Literal["mace"] = "mace"
    cutoff: PositiveFloat = Field(default=5.0, description="Å")
    hidden_irreps: str = "128x0e + 128x1o"
    max_ell: int = Field(default=3, ge=0)
    correlation: PositiveInt = 3
    layers: PositiveInt = 2
    radial_basis: RadialBasis = "bessel"
    n_radial: PositiveInt = 8
    envelope_power: PositiveInt = 5
    distance_transform: DistanceTransform | None = None
    radial_mlp: tuple[PositiveInt, ...] = (64, 64, 64)
    first_interaction: Interaction = "residual"
    interaction: Interaction = "residual"
    readout_mlp: str = "16x0e"
    gate: Gate = "silu"
    zbl: Repulsion | None = None
    apply_cutoff: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> MaceArchitecture:
        single = {"correlation": [self.correlation] * self.layers, "edge_irreps": None}
        try:
            check_mace({**self.config(), **single, "heads": ["default"], "default_head": "default"})
        except SimkitError as error:
            raise ValueError(str(error)) from error
        return self

    def config(self) -> dict[str, Any]:
        """Arguments of the class that do not come from the data."""
        return self.model_dump(exclude={"kind"})


class PainnArchitecture(Settings):
    """A new PaiNN; the fields are arguments of :class:`simkit.potentials.painn.PaiNN`.

    Reference: K. T. Schütt, O. T. Unke, M. Gastegger, ICML 2021, arXiv:2102.03150.
    """

    kind: Literal["painn"] = "painn"
    cutoff: PositiveFloat = Field(default=5.0, description="Å")
    channels: int = Field(default=128, gt=0, multiple_of=2, description="even: the readout halves it")
    layers: PositiveInt = 3
    n_radial: PositiveInt = 20
    envelope: Envelope = "polynomial"

    def config(self) -> dict[str, Any]:
        """Arguments of the class that do not come from the data."""
        return self.model_dump(exclude={"kind"})


class Pretrained(Settings):
    """A potential from a model file, own or of mace-torch, to be trained further (fine-tuning).

    ``elements``: ``keep`` those of the model, ``add`` those that only the data have, or keep only those of the ``data``
    (smaller and faster). ``reference_energies``: ``refit`` changes them by the least-squares fit to what the model
    misses on the training frames, e.g. because the level of theory is another; ``keep`` leaves them, and fits those of
    added elements alone.
    """

    kind: Literal["pretrained"] = "pretrained"
    model: str
    head: str | None = Field(default=None, description="level of theory, of a model that was trained on several")
    elements: Literal["keep", "add", "data"] = "keep"
    reference_energies: Literal["keep", "refit"] = "refit"


NewArchitecture = MaceArchitecture | PainnArchitecture
"""Settings of potentials that start from random weights."""

Architecture = Annotated[NewArchitecture | Pretrained, Field(discriminator="kind")]


class Normalisation(Settings):
    """Scale and shift of a new potential, ``E_i = E0[z_i] + scale·ε_i + shift``.

    ``rms_force`` is √⟨F²⟩ of the training forces, ``energy_std`` the standard deviation of the energy per atom after
    subtraction of E0, ``mean_energy`` its mean; numbers are in eV. With ``shift: 0``, and a MACE whose
    ``first_interaction`` is ``agnostic``, isolated atoms have exactly E0.
    """

    scale: Literal["rms_force", "energy_std"] | PositiveFloat = "rms_force"
    shift: Literal["mean_energy"] | float = "mean_energy"
