"""Coefficients of explicit Runge-Kutta methods."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F


@dataclass(frozen=True)
class Tableau:
    """``k_i = f(u + h Σ_j a_ij k_j, t + c_i h)``, ``u' = u + h Σ_i b_i k_i``; the error is ``h Σ_i e_i k_i``.

    Attributes:
        name: of the method.
        order: p, the global error falls as h^p.
        a: rows below the diagonal.
        b: weights.
        error: b minus the weights of the embedded method, empty if there is none.
        last_is_first: the last stage is the first one of the next step.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...] = ()
    last_is_first: bool = False

    @property
    def c(self) -> tuple[float, ...]:
        """Times of the stages: sums of the rows of a."""
        return tuple(sum(row) for row in self.a)


def _numbers(*values: F | int) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


EULER = Tableau("Euler", 1, ((),), (1.0,))
HEUN = Tableau("Heun", 2, ((), (1.0,)), (0.5, 0.5), (-0.5, 0.5))
SSPRK3 = Tableau("SSPRK3", 3, ((), (1.0,), (0.25, 0.25)), _numbers(F(1, 6), F(1, 6), F(2, 3)))
"""Keeps what Euler's method keeps (bounds, total variation) at the same step: S. Gottlieb, C.-W. Shu, E. Tadmor, SIAM
Rev. 43, 89 (2001), doi:10.1137/S003614450036757X.
"""
RK4 = Tableau("RK4", 4, ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), _numbers(F(1, 6), F(1, 3), F(1, 3), F(1, 6)))
BOGACKI_SHAMPINE = Tableau(
    "Bogacki-Shampine 3(2)",
    3,
    ((), (0.5,), (0.0, 0.75), _numbers(F(2, 9), F(1, 3), F(4, 9))),
    (*_numbers(F(2, 9), F(1, 3), F(4, 9)), 0.0),
    _numbers(F(2, 9) - F(7, 24), F(1, 3) - F(1, 4), F(4, 9) - F(1, 3), F(-1, 8)),
    last_is_first=True,
)
"""P. Bogacki, L. F. Shampine, Appl. Math. Lett. 2, 321 (1989), doi:10.1016/0893-9659(89)90079-7."""
_DP = _numbers(F(35, 384), 0, F(500, 1113), F(125, 192), F(-2187, 6784), F(11, 84))
DORMAND_PRINCE = Tableau(
    "Dormand-Prince 5(4)",
    5,
    (
        (),
        _numbers(F(1, 5)),
        _numbers(F(3, 40), F(9, 40)),
        _numbers(F(44, 45), F(-56, 15), F(32, 9)),
        _numbers(F(19372, 6561), F(-25360, 2187), F(64448, 6561), F(-212, 729)),
        _numbers(F(9017, 3168), F(-355, 33), F(46732, 5247), F(49, 176), F(-5103, 18656)),
        _DP,
    ),
    (*_DP, 0.0),
    _numbers(F(71, 57600), 0, F(-71, 16695), F(71, 1920), F(-17253, 339200), F(22, 525), F(-1, 40)),
    last_is_first=True,
)
"""J. R. Dormand, P. J. Prince, J. Comput. Appl. Math. 6, 19 (1980), doi:10.1016/0771-050X(80)90013-3."""
_TS = (
    0.09646076681806523,
    0.01,
    0.4798896504144996,
    1.379008574103742,
    -3.290069515436081,
    2.324710524099774,
)
TSITOURAS = Tableau(
    "Tsitouras 5(4)",
    5,
    (
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
        _TS,
    ),
    (*_TS, 0.0),
    (
        0.00178001105222577714,
        0.0008164344596567469,
        -0.007880878010261995,
        0.1447110071732629,
        -0.5823571654525552,
        0.45808210592918697,
        -1 / 66,
    ),
    last_is_first=True,
)
"""C. Tsitouras, Comput. Math. Appl. 62, 770 (2011), doi:10.1016/j.camwa.2011.06.002."""
