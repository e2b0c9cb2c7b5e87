"""A ReLU network on a box, proven: linear bounds of its neurons, and the quadratic form of a dual.

``x_0`` in a box, ``y_i = W_i'x_{i-1} + b_i``, ``x_i = max(0, y_i)``; a margin is linear in the last
layer. Three steps, each with every rounding error bounded (``gamma_k = k u / (1 - k u)``; N.
Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1):

1. *Bounds of y.* Interval arithmetic, and the backward pass of linear bounds (H. Zhang et al.,
   CROWN, 2018): ``max(0, y) <= u (y - l) / (u - l)`` and ``>= 0`` or ``>= y`` where l < 0 < u.
2. *Substitution.* A neuron with u <= 0 is 0, one with l >= 0 is y, an affine function of inputs and
   earlier neurons: what is left are the inputs and the neurons that may be either, as
   ``m + r z``, ``|z| <= 1``.
3. *Lagrangian.* Of such a neuron ``x (y - x) = 0``, ``x - y >= 0``, ``x >= 0`` hold, and of one
   whose
   sign a split has chosen ``s y >= 0``. The margin minus multiples of these is a quadratic form in
   z; that it is at least a bound on ``|z| <= 1`` is proven as in `forms` (R. Dathathri et al.,
   Enabling certification of verification-agnostic networks via memory-efficient semidefinite
   programming, 2020, for the dual).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qnn.certificates.robustness.forms import BoxForm, middle_and_radius
from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, UNIT, gamma

Array = np.ndarray
Layer = tuple[Array, Array]
Bounds = tuple[Array, Array]


class EmptyBoxError(Exception):
    """No input of the box has the signs that splits have chosen: whatever is claimed holds."""


def linear_bound(
    layers: list[Layer], bounds: list[Bounds], box: Bounds, C: Array, constants: Array
) -> Array:
    """Upper bounds (q,) of ``C'x + constants``, x the last of the given layers; C (n, q)."""
    A, c = C, constants.astype(np.float64)
    for index in range(len(layers) - 1, -1, -1):
        (W, b), (lo, u) = layers[index], bounds[index]
        before = bounds[index - 1] if index else None
        reach = np.abs(box).max(axis=0) if before is None else np.maximum(before[1], 0.0)
        upper, lower, lift = relaxed(lo, u)
        positive, negative = np.maximum(A, 0.0), np.minimum(A, 0.0)
        lifted = positive.T @ lift
        slope = positive * upper[:, None] + negative * lower[:, None]
        size = np.abs(slope).T @ (np.abs(W).T @ reach + np.abs(b)) + lifted + np.abs(c)
        c = c + lifted + slope.T @ b
        c = c + gamma(2 * len(b) + len(W) + 20) * size + _lost(W, reach)
        A = W @ slope
    low, high = box
    value = np.maximum(A, 0.0).T @ high + np.minimum(A, 0.0).T @ low
    size = np.abs(A).T @ np.abs(box).max(axis=0) + np.abs(c)
    lost = 4.0 * len(low) * TINY * (1.0 + float(np.abs(box).max(initial=0.0)))
    return np.asarray(c + value + gamma(2 * len(low) + 20) * size + lost)


def relaxed(lo: Array, u: Array) -> tuple[Array, Array, Array]:
    """Slopes of the bounds above and below each neuron, and what the upper one is at y = 0."""
    either = (lo < 0.0) & (u > 0.0)
    upper = np.where(lo >= 0.0, 1.0, slope_above(lo, u))
    lower = np.where(lo >= 0.0, 1.0, np.where(either & (u > -lo), 1.0, 0.0))
    # A lift that underflows counts whatever it is multiplied with, so it must not be lower either.
    return upper, lower, np.where(either, TINY - upper * lo, 0.0)


def slope_above(lo: Array, u: Array) -> Array:
    """At least ``u / (u - lo)`` of neurons that may be either, else 0; see `on_their_side`.

    Where the quotient underflows, TINY alone keeps the line above ``max(0, y)`` at y = u.
    """
    either = (lo < 0.0) & (u > 0.0)
    width = np.where(either, u - lo, 1.0)
    return np.where(either, u / width * (1.0 + 8.0 * UNIT) + TINY, 0.0)


def _lost(W: Array, reach: Array) -> float:
    """More than products lose that are too small for float64."""
    return float(
        16.0 * W.size * TINY * (1.0 + reach.max(initial=0.0)) * (1.0 + np.abs(W).max(initial=0.0))
    )


def interval_layer(layer: Layer, low: Array, high: Array) -> Bounds:
    """Bounds of ``W'x + b`` on a box, by interval arithmetic."""
    W, b = layer
    m, r = middle_and_radius(low, high)
    y, s = m @ W + b, r @ np.abs(W)
    error = gamma(2 * len(m) + 20) * (np.abs(m) @ np.abs(W) + s + np.abs(b))
    error = error + _lost(W, np.abs(m) + r)
    return y - s - error, y + s + error


def neuron_bounds(
    layers: list[Layer], box: Bounds, signs: list[Array] | None = None
) -> list[Bounds]:
    """Bounds of y of the given (hidden) layers: the better of both ways.

    signs: of each layer (n,), +1 or -1 where a split has chosen y >= 0 or y <= 0, else 0. Raises
    EmptyBoxError where no input has these signs, CertificateError on overflow.
    """
    bounds: list[Bounds] = []
    low, high = box
    for index, layer in enumerate(layers):
        W, b = layer
        earlier = layers[:index]
        above = linear_bound(earlier, bounds, box, W, b)
        below = -linear_bound(earlier, bounds, box, -W, -b)
        lo, u = interval_layer(layer, low, high)
        lo, u = np.maximum(lo, below), np.minimum(u, above)
        lo, u = on_their_side(lo, u, None if signs is None else signs[index])
        bounds.append((lo, u))
        low, high = np.maximum(lo, 0.0), np.maximum(u, 0.0)
    return bounds


def on_their_side(lo: Array, u: Array, signs: Array | None) -> Bounds:
    """A layer's bounds, cut to the sides that splits have chosen; see `neuron_bounds`."""
    # Their distance, too: a line through both ends divides by it.
    if not np.isfinite(u - lo).all():
        raise CertificateError("the bounds of the neurons overflow")
    if signs is not None:
        lo = np.where(signs > 0, np.maximum(lo, 0.0), lo)
        u = np.where(signs < 0, np.minimum(u, 0.0), u)
    if np.any(lo > u):
        raise EmptyBoxError
    return lo, u


def least_margin(
    layers: list[Layer], bounds: list[Bounds], box: Bounds, w: Array, constant: float
) -> float:
    """A lower bound of ``w'x + constant``, x the last hidden layer, by the two cheap ways."""
    by_lines = -linear_bound(layers, bounds, box, -w[:, None], np.array([-constant]))[0]
    last = (np.maximum(bounds[-1][0], 0.0), np.maximum(bounds[-1][1], 0.0)) if layers else box
    by_intervals = interval_layer((w[:, None], np.array([constant])), *last)[0][0]
    return float(np.fmax(by_lines, by_intervals))


@dataclass(frozen=True)
class System:
    """What is left of a network on a box: z (n,), the inputs that move and h neurons.

    m, r (n,): an entry of x is ``m + r z``; the neurons are the last h. y0 (h,), Y (n, h): their
    y is ``y0 + Y'z``, off by at most error (h,). s0, S (n, q), s_error: ``s y`` of the q neurons
    whose sign is chosen. margin: ``c + g'z + z'Hz / 2`` off by at most margin_error; H (n, n) is
    None where it is 0.
    """

    m: Array
    r: Array
    y0: Array
    Y: Array
    error: Array
    s0: Array
    S: Array
    s_error: Array
    c: float
    g: Array
    margin_error: float
    H: Array | None = None

    @property
    def lengths(self) -> tuple[int, int, int, int, int]:
        """How many multipliers there are of each kind, in the order of `lagrangian`."""
        h = len(self.y0)
        return len(self.m), h, h, h, len(self.s0)


def substituted(
    layers: list[Layer],
    bounds: list[Bounds],
    box: Bounds,
    w: Array,
    constant: float,
    signs: list[Array] | None = None,
) -> System:
    """The network on a box with its decided neurons substituted; margin ``w'x + constant``."""
    system, last = without_margin(layers, bounds, box, signs)
    g, c, off = affine((w[:, None], np.array([constant])), *last)
    return replace(system, c=float(c[0]), g=g[0], margin_error=float(off[0]))


def without_margin(
    layers: list[Layer], bounds: list[Bounds], box: Bounds, signs: list[Array] | None = None
) -> tuple[System, tuple[Array, Array, Array]]:
    """The system with the margin 0, and A, d, e of the last layer's ``x = A z + d`` (`affine`)."""
    either = [np.flatnonzero((lo < 0.0) & (u > 0.0)) for lo, u in bounds]
    ends = [(np.zeros(len(k)), u[k]) for (_, u), k in zip(bounds, either, strict=True)]
    m0, r0 = middle_and_radius(*box)
    moves = np.flatnonzero(r0 > 0.0)
    pairs = [(m0[moves], r0[moves]), *(middle_and_radius(*pair) for pair in ends)]
    m, r = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    n, at = len(m), len(moves)
    A, d, e = np.zeros((len(m0), n)), m0, np.zeros(len(m0))
    A[moves, np.arange(at)] = r[:at]
    rows: list[tuple[Array, Array, Array]] = []
    chosen: list[tuple[Array, Array, Array]] = []
    for index, (layer, (lo, u), k) in enumerate(zip(layers, bounds, either, strict=True)):
        A, d, e = affine(layer, A, d, e)
        rows.append((d[k], A[k], e[k]))
        if signs is not None:
            q = np.flatnonzero(signs[index])
            s = signs[index][q].astype(np.float64)
            chosen.append((s * d[q], s[:, None] * A[q], e[q]))
        on = (lo >= 0.0) & (u > 0.0)
        A, d, e = A * on[:, None], d * on, e * on
        j = np.arange(at, at + len(k))
        A[k, j], d[k], e[k], at = r[j], m[j], 0.0, at + len(k)
    y0, Y, error = _joined(rows, n)
    s0, S, s_error = _joined(chosen, n)
    return System(m, r, y0, Y.T, error, s0, S.T, s_error, 0.0, np.zeros(n), 0.0), (A, d, e)


def affine(layer: Layer, A: Array, d: Array, e: Array) -> tuple[Array, Array, Array]:
    """``W'x + b`` of ``x = A z + d``, off by at most e anywhere in ``|z| <= 1``."""
    W, b = layer
    reach = np.abs(A).sum(axis=1) + np.abs(d)
    size = np.abs(W).T @ reach + np.abs(b)
    off = np.abs(W).T @ e * (1.0 + gamma(2 * len(d) + 10))
    off = off + gamma(2 * len(d) + A.shape[1] + 20) * size
    lost = _lost(W, reach) * (A.shape[1] + 1.0)
    return W.T @ A, W.T @ d + b, off + lost


def _joined(parts: list[tuple[Array, Array, Array]], n: int) -> tuple[Array, Array, Array]:
    empty = (np.zeros(0), np.zeros((0, n)), np.zeros(0))
    first, second, third = zip(empty, *parts, strict=True)
    return np.concatenate(first), np.concatenate(second), np.concatenate(third)


def lagrangian(system: System, multipliers: Array) -> tuple[BoxForm, Array]:
    """The form that the multipliers make, and kappa (n,), the first of them.

    multipliers: kappa (n,) >= 0 of ``1 - z^2``, then of each neuron one of ``x (y - x) = 0``, of
    any sign, one >= 0 of ``x - y`` and one >= 0 of ``x``, then one >= 0 of each ``s y``. Raises
    CertificateError where one has the wrong sign.
    """
    kappa, product, above, positive, chosen = np.split(multipliers, np.cumsum(system.lengths)[:-1])
    rest = np.concatenate([above, positive, chosen])
    if not np.isfinite(multipliers).all() or np.any(kappa < 0.0) or np.any(rest < 0.0):
        raise CertificateError("a multiplier is negative or not finite")
    n, h = len(system.m), len(system.y0)
    i = np.arange(n - h, n)
    m, r, y0, Y = system.m[i], system.r[i], system.y0, system.Y
    c = system.c - float(product @ (m * (y0 - m)) + above @ (m - y0) + positive @ m)
    c -= float(chosen @ system.s0)
    g = system.g - Y @ (product * m - above) - system.S @ chosen
    g[i] -= r * (product * (y0 - 2.0 * m) + above + positive)
    H = np.zeros((n, n)) if system.H is None else system.H.copy()
    coupling = Y * (product * r)
    H[:, i] -= coupling
    H[i, :] -= coupling.T
    H[i, i] += 2.0 * product * r * r
    error = _coefficient_errors(system, product, above, positive, chosen)
    return BoxForm(c, g, H, error, np.arange(n)), kappa


def _coefficient_errors(
    system: System, product: Array, above: Array, positive: Array, chosen: Array
) -> float:
    """What all roundings and the errors of y can change anywhere in ``|z| <= 1``."""
    h = len(system.y0)
    m, r = system.m[len(system.m) - h :], system.r[len(system.m) - h :]
    x = np.abs(m) + r
    y = np.abs(system.y0) + np.abs(system.Y).sum(axis=0)
    s = np.abs(system.s0) + np.abs(system.S).sum(axis=0)
    size = np.abs(product) @ (x * (y + 2.0 * x)) + above @ (x + y) + positive @ x + chosen @ s
    size += np.abs(system.g).sum() + abs(system.c)
    size += 0.0 if system.H is None else 0.5 * np.abs(system.H).sum()
    off = (np.abs(product) * x + above) @ system.error + chosen @ system.s_error
    off = (off + system.margin_error) * (1.0 + gamma(4 * h + 20))
    n = len(system.m)
    reach = 1.0 + float(np.concatenate([x, y, s, [0.0]]).max())
    # What a product of two entries loses is multiplied by a multiplier yet.
    top = 1.0 + float(np.concatenate([np.abs(product), above, positive, chosen, [0.0]]).max())
    lost = 16.0 * (n + 2.0) ** 2 * TINY * reach * reach * top
    return float(off + gamma(4 * n + 8 * h + 60) * size + lost)
