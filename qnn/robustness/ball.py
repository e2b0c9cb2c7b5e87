"""A quadratic form on an ellipsoid, exactly: its least value, and how far it stays positive.

With ``x = centre + axes o w`` the form is ``c + g'w + w'Hw / 2``. On ``w'w <= 1`` its least value
is

    max over s >= max(0, -lowest eigenvalue of H) of  c - s / 2 - g'(H + s I)^-1 g / 2,

and the largest t with ``c + t g'w + t^2 w'Hw / 2 >= 0`` on the ball comes from
``min w'w`` where the form is at most 0, ``max over m >= 0, I + m H / 2 >= 0 of
m c - sum (m b_i)^2 / (4 (1 + m e_i))`` with ``H = V Diag(2 e) V'``, ``b = V'g``: both are maxima of
a concave function of one number (the S-lemma; S. Boyd, L. Vandenberghe, Convex Optimization, 2004,
appendix B), found by bisection of its derivative.
"""

from __future__ import annotations

import numpy as np

from qnn.certificates.robustness.forms import BoxForm, Form

Array = np.ndarray
_HALVINGS = 200


def least_on_ball(form: BoxForm) -> tuple[float, float, Array]:
    """The multiplier s of the ball, the least value, and w (n,) where it is attained."""
    if not len(form.g):
        return 0.0, form.c, form.g
    values, V = np.linalg.eigh(form.H)
    b = V.T @ form.g
    floor = max(0.0, -float(values[0]))
    # Beyond, the derivative is negative: |b| / s < 1.
    low, high = floor, floor + float(np.linalg.norm(b)) + 1e-300

    def outside(s: float) -> bool:
        with np.errstate(divide="ignore", invalid="ignore"):
            w = np.where(b == 0.0, 0.0, b / (values + s))
        return not float(w @ w) <= 1.0

    for _ in range(_HALVINGS):
        s = 0.5 * (low + high)
        if s in (low, high):
            break
        low, high = (s, high) if outside(s) else (low, s)
    s = high
    with np.errstate(divide="ignore", invalid="ignore"):
        w = np.where(b == 0.0, 0.0, -b / (values + s))
    if s > 0.0 and float(w @ w) < 1.0:
        # The hard case: the rest of the radius goes along the lowest eigenvalue.
        w[0] += np.copysign(np.sqrt(1.0 - w @ w + w[0] ** 2) - abs(w[0]), w[0])
    value = form.c - 0.5 * s - 0.5 * float(b @ np.where(b == 0.0, 0.0, b / (values + s)))
    return s, value, V @ (w / max(1.0, float(np.linalg.norm(w))))


class Radii:
    """Of one form and one shape of ellipsoid, how far any centres are from where it is 0.

    The eigenvalues are computed once, each centre then takes some hundred vector operations.
    """

    def __init__(self, form: Form, axes: Array) -> None:
        self.form, self.axes = form, axes
        self.values, self.V = np.linalg.eigh(axes[:, None] * form.A * axes)

    def of(self, centres: Array) -> Array:
        """The factors of the axes (k,) at which the form's least value is 0; centres (k, d).

        0 where the form is not positive at the centre, infinite where it is positive everywhere.
        """
        form = self.form
        AX = centres @ form.A
        c = form.constant + centres @ form.linear + np.einsum("ij,ij->i", centres, AX)
        b = ((form.linear + 2.0 * AX) * self.axes) @ self.V
        return np.sqrt(_largest(c, b, self.values))


def _largest(c: Array, b: Array, e: Array) -> Array:
    """``max_m m c - sum_i (m b_i)^2 / (4 (1 + m e_i))`` for each row; at most 1 / (-min e) is m."""
    positive = c > 0.0
    least = float(e.min(initial=0.0))
    # In p = 1 / m the value is (c - sum b_i^2 / (4 (p + e_i))) / p.
    floor = max(0.0, -least)

    def rest(p: Array) -> tuple[Array, Array]:
        shifted = p[:, None] + e
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(b == 0.0, 0.0, b * b / (4.0 * shifted))
            slopes = np.where(b == 0.0, 0.0, terms / shifted)
        return c - terms.sum(axis=1), slopes.sum(axis=1)

    size = np.abs(b).sum(axis=1)
    low = np.full(len(c), floor)
    high = 2.0 * floor + 1e-300 + 4.0 * size**2 / np.maximum(c, 1e-300)
    for _ in range(_HALVINGS):
        p = 0.5 * (low + high)
        # The derivative of the value in p has the sign of p * slopes - rest.
        value, slope = rest(p)
        falling = ~(value < p * slope)
        low, high = np.where(falling, low, p), np.where(falling, p, high)
    value, _ = rest(high)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(high > 1e-40, value / high, np.inf)
    return np.where(positive, np.maximum(found, 0.0), 0.0)
