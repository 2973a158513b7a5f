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
    """A new MACE for one level of theory; the fields are arguments of :class:`simkit.potentials.mace.MACE`.

    Reference: I. Batatia et al., NeurIPS 2022, arXiv:2206.07697.
    """

    kind: Literal["mace"] = "mace"
    cutoff: PositiveFloat = Field(default=5.0, description="length of the longest edge, in Å")
    hidden_irreps: str = Field(
        default="128x0e + 128x1o", description="channels of each degree of the features, equally many of every degree"
    )
    max_ell: int = Field(default=3, ge=0, description="highest degree of the spherical harmonics")
    correlation: PositiveInt | tuple[PositiveInt, ...] = Field(
        default=3, description="neighbours in a product (body order minus one): one number, or one for each layer"
    )
    layers: PositiveInt = Field(default=2, description="message-passing steps; atoms see layers x cutoff far")
    radial_basis: RadialBasis = Field(default="bessel", description="functions of the distance")
    n_radial: PositiveInt = Field(default=8, description="number of radial functions")
    envelope_power: PositiveInt = Field(default=5, description="p of the polynomial that falls to zero at the cutoff")
    distance_transform: DistanceTransform | None = Field(
        default=None, description="scale distances by the radii of both atoms; for data with many elements"
    )
    radial_mlp: tuple[PositiveInt, ...] = Field(
        default=(64, 64, 64), description="widths of the hidden layers of the radial network"
    )
    first_interaction: Interaction = Field(
        default="residual",
        description="block of the first layer; agnostic gives isolated atoms their E0 (with shift 0)",
    )
    interaction: Interaction = Field(default="residual", description="block of the other layers")
    readout_mlp: str = Field(default="16x0e", description="hidden units of the last readout")
    gate: Gate = Field(default="silu", description="nonlinearity of the last readout")
    zbl: Repulsion | None = Field(
        default=None, description="repulsion of nuclei at short distances, inside or outside of the scale and shift"
    )
    apply_cutoff: bool = Field(
        default=True, description="the envelope multiplies the radial functions, or (false) the radial network's values"
    )
    edge_irreps: str | None = Field(
        default=None, description="channels of the features sent along edges; as hidden_irreps if absent"
    )
    element_weights: bool = Field(
        default=True, description="products have weights for each element, or (false) shared ones"
    )

    @model_validator(mode="after")
    def _consistent(self) -> MaceArchitecture:
        config = self.config()
        orders = config["correlation"]
        config["correlation"] = [orders] * self.layers if isinstance(orders, int) else list(orders)
        try:
            check_mace({**config, "heads": ["default"], "default_head": "default"})
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
    cutoff: PositiveFloat = Field(default=5.0, description="length of the longest edge, in Å")
    channels: int = Field(
        default=128, gt=0, multiple_of=2, description="scalar features, and vector features, per atom; even"
    )
    layers: PositiveInt = Field(default=3, description="message-passing steps; atoms see layers x cutoff far")
    n_radial: PositiveInt = Field(default=20, description="number of Bessel functions of the distance")
    envelope: Envelope = Field(
        default="polynomial", description="how filters vanish at the cutoff: polynomial, or the paper's cosine"
    )

    def config(self) -> dict[str, Any]:
        """Arguments of the class that do not come from the data."""
        return self.model_dump(exclude={"kind"})


class CustomArchitecture(Settings):
    """A new potential of any class by its kind, such as one of your own that an installed package offers.

    The class is made with ``cutoff``, ``arguments`` and, of what comes from the data, whatever its constructor has:
    ``elements`` (atomic numbers), ``average_neighbours``, ``reference_energies`` (E0 in eV of the elements, in a list
    of lists: one for each level of theory), ``scale`` and ``shift`` (eV). Arguments that are given win.
    """

    kind: Literal["custom"] = "custom"
    potential: str = Field(description="kind of the class, see simkit.potentials.catalogue")
    cutoff: PositiveFloat = Field(default=5.0, description="length of the longest edge, in Å")
    arguments: dict[str, Any] = Field(default={}, description="other arguments of the class")

    def config(self) -> dict[str, Any]:
        """Arguments of the class that do not come from the data."""
        return {"cutoff": self.cutoff, **self.arguments}


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


NewArchitecture = MaceArchitecture | PainnArchitecture | CustomArchitecture
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
