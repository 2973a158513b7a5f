"""The battery that every potential inherits.

    class TestLennardJones(Battery):
        spacing = 3.6

        def potential(self):
            return LennardJones(epsilon=0.0104, sigma=3.4, cutoff=8.5)

What a potential fails by design is declared, with the reason, in ``exceptions``; see :class:`Conformance`.
"""

from tests.conformance.derivatives import Derivatives
from tests.conformance.locality import Locality
from tests.conformance.symmetries import Symmetries
from tests.conformance.transformations import Transformations


class Battery(Symmetries, Derivatives, Locality, Transformations):
    """All tests of a potential: subclass it as ``Test<Potential>`` and implement ``potential``."""
