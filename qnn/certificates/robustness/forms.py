"""Quadratic forms on boxes, with every rounding of their coefficients paid for.

On a box ``x = m + r o z``, ``|z| <= 1``, an error of each coefficient of a form in z changes its
value by at most the sum of these errors: so all roundings become one number, ``error``. What is
left is exact data, and for any k (and any budget s >= 0 of a ball)

    c + g'z + z'Hz / 2 >= bound  if  [[2 (c - bound) - sum(k) - s, g'], [g, H + Diag(k) + s I]] >= 0

for all z with ``sum_j k_j (1 - z_j^2) + s (1 - z'z) >= 0``: of ``|z_j| <= 1`` that needs k_j >= 0,
of a sign z_j nothing, of the ball s >= 0. (S-lemma; N. Higham, Accuracy and Stability of Numerical
Algorithms, 2002, sections 3.1 and 10.1 for the roundings.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qnn.certificates.slack import prove_semidefinite
from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, UNIT, gamma, summed

Array = np.ndarray


@dataclass(frozen=True)
class Form:
    """``constant + linear'x + x'Ax``, each coefficient off by at most its error.

    A (n, n) symmetric, linear (n,); the errors have the same shapes.
    """

    constant: float
    linear: Array
    A: Array
    constant_error: float
    linear_error: Array
    A_error: Array

    def on_box(self, low: Array, high: Array) -> BoxForm:
        """The form in z on a box low, high (n,), of the coordinates that are not fixed."""
        return self.around(*middle_and_radius(low, high))

    def around(self, m: Array, r: Array) -> BoxForm:
        """The form in z with ``x = m + r o z``; m, r (n,), r >= 0, are taken as they are."""
        free = np.flatnonzero(r > 0.0)
        Am, reach = self.A @ m, np.abs(m) + r
        rf = r[free]
        c = self.constant + float(self.linear @ m) + float(m @ Am)
        g = rf * (self.linear[free] + 2.0 * Am[free])
        H = 2.0 * (rf[:, None] * self.A[np.ix_(free, free)] * rf)
        error = self.constant_error + float(reach @ (self.linear_error + self.A_error @ reach))
        error = error * (1.0 + gamma(4 * len(m) + 20)) + underflow(
            len(m), float(reach.max(initial=1.0))
        )
        return BoxForm(c, g, 0.5 * (H + H.T), error, free)

    def concave(self, coordinate: int) -> bool:
        """Whether the form is proven concave along a coordinate: it is least at one of two ends."""
        return bool(self.A[coordinate, coordinate] + self.A_error[coordinate, coordinate] <= 0.0)


@dataclass(frozen=True)
class BoxForm:
    """``c + g'z + z'Hz / 2`` on ``|z| <= 1``, off by at most ``error`` anywhere there.

    ``free``: which coordinates of x the entries of z are.
    """

    c: float
    g: Array
    H: Array
    error: float
    free: Array

    def widened(self, error: float) -> BoxForm:
        """The same, off by some more."""
        return replace(self, error=(self.error + error) * (1.0 + 4.0 * UNIT))


def middle_and_radius(low: Array, high: Array) -> tuple[Array, Array]:
    """m, r with ``[m - r, m + r]`` around the box; it exactly where it is a number or a sign."""
    m = np.where(low == high, low, 0.5 * low + 0.5 * high)
    r = np.maximum(high - m, m - low) * (1.0 + 4.0 * UNIT)
    return m, np.where(low == -high, np.abs(high), r)


def underflow(n: int, reach: float) -> float:
    """More than products of n by n numbers lose that are too small for float64."""
    # A product, not a power: that of a float raises where it overflows.
    return 4.0 * (n + 2.0) ** 2 * TINY * (1.0 + reach) * (1.0 + reach)


def with_evaluation(
    constant: float, linear: Array, A: Array, errors: tuple[float, Array, Array]
) -> Form:
    """A form whose errors also pay for the roundings of `Form.on_box`."""
    share = gamma(2 * len(linear) + 30)
    return Form(
        constant,
        linear,
        A,
        errors[0] + share * abs(constant),
        errors[1] + share * np.abs(linear),
        errors[2] + share * np.abs(A),
    )


def prove_at_least(
    bound: float, form: BoxForm, kappa: Array, ball: float = 0.0, margin: float = 1.0
) -> None:
    """Prove that the form is at least ``bound``; kappa (n,) and ``ball`` are k and s of above.

    Raises CertificateError where it is not proven. ``margin`` multiplies the allowances: who makes
    a certificate asks for more than 1, so that no other machine's rounding refuses it.
    """
    numbers = np.concatenate([kappa, [ball, bound, form.c, form.error], form.g])
    if not (np.isfinite(numbers).all() and np.isfinite(form.H).all()):
        raise CertificateError("a bound's numbers are not finite")
    size = len(form.g)
    spent = summed(kappa, "a bound") + ball
    corner = 2.0 * (form.c - bound) - spent
    absolute = summed(np.abs(kappa), "a bound") + ball
    radius = np.zeros(size + 1)
    radius[0] = 2.0 * margin * form.error
    radius[0] += margin * 16.0 * UNIT * (abs(form.c) + abs(bound) + absolute) + 8.0 * TINY
    block = np.zeros((size + 1, size + 1))
    block[0, 1:] = block[1:, 0] = form.g
    block[1:, 1:] = form.H
    diagonal = np.append(corner, kappa)
    # k + s is rounded once.
    diagonal[1:] = (diagonal[1:] + ball) - 4.0 * UNIT * margin * (np.abs(kappa) + ball)
    prove_semidefinite(diagonal, block, radius, margin)
