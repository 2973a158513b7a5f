"""The radial embedding of edges."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from simkit.potentials.cutoffs import polynomial_envelope
from simkit.potentials.options import DistanceTransform, RadialBasis
from simkit.potentials.radial import distance_transform, radial_basis


class RadialEmbedding(nn.Module):
    """``R_n(r) = b_n(y(r)) · f_p(r)``: a basis of the (transformed) distance and an envelope of the distance itself.

    Args:
        basis: name of the basis.
        size: number of functions.
        cutoff: in Å.
        envelope_power: p of the envelope.
        transform: name of the transform y, or None.
    """

    def __init__(
        self, basis: RadialBasis, size: int, cutoff: float, envelope_power: int, transform: DistanceTransform | None
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.envelope_power = envelope_power
        self.basis = radial_basis(basis, cutoff, size)
        self.transform = None if transform is None else distance_transform(transform)

    def forward(
        self, r: Float[Tensor, " edges"], centre: Int[Tensor, " edges"], neighbour: Int[Tensor, " edges"]
    ) -> tuple[Float[Tensor, "edges radial"], Float[Tensor, "edges 1"]]:
        """Distances (Å) and atomic numbers of both ends -> values of the basis without envelope, and the envelope."""
        envelope = polynomial_envelope(r, self.cutoff, self.envelope_power)
        return self.basis(r if self.transform is None else self.transform(r, centre, neighbour)), envelope[:, None]
