"""The best diagonal for a quadratic form on a box, by a barrier method.

``min c + g'z + z'Hz / 2`` over ``|z_j| <= 1`` is at least

    F(k) = c - sum(k) / 2 - g'P^-1 g / 2,   P = H + Diag(k) > 0,  k_j >= 0 (free where z_j is a
    sign),

and -F is convex. With t the barrier's weight, q = P^-1 g and Q = P^-1, the function that is
minimized, ``-F - t log det P - t sum log k``, has the gradient ``1/2 - q^2/2 - t diag Q - t/k`` and
the Hessian ``Q o qq' + t Q o Q + t Diag(k^-2)`` (S. Boyd, L. Vandenberghe, Convex Optimization,
2004, chapter 11, for the method). The minimizer suggested for the form is ``-q``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from qnn.certificates.robustness.forms import BoxForm

Array = np.ndarray
# A round of Newton steps takes the weight of the barrier down by this factor.
_SHRINK = 0.1
_MOST_STEPS = 120


@dataclass(frozen=True)
class Bounded:
    """A diagonal (n,), the bound F that it gives (not yet proven) and a point z (n,) of the box."""

    kappa: Array
    value: float
    z: Array
    steps: int


def best_diagonal(
    form: BoxForm,
    signs: Array | None = None,
    tol: float = 1e-7,
    target: float = np.inf,
    start: Array | None = None,
) -> Bounded:
    """The diagonal with the largest bound, up to ``tol`` relative to what the interval bound loses.

    signs (n,): where z is a sign, so that its multiplier is free. It ends early once the bound
    exceeds ``target``. start (n,): where a search may begin if it is feasible.
    """
    widest = np.abs(form.H).sum(axis=1) + np.abs(form.g)
    power = int(np.frexp(widest.max(initial=0.0))[1])
    if not widest.any() or power < -1000:
        return Bounded(widest, form.c - float(widest.sum()), np.zeros(len(widest)), 0)
    # By a power of two, so exactly: no size of numbers is special to what follows.
    g, H = np.ldexp(form.g, -power), np.ldexp(form.H, -power)
    unit = BoxForm(float(np.ldexp(form.c, -power)), g, H, 0.0, form.free)
    begin = None if start is None else np.ldexp(start, -power)
    found = _best_diagonal(unit, signs, tol, float(np.ldexp(target, -power)), begin)
    kappa, value = np.ldexp(found.kappa, power), float(np.ldexp(found.value, power))
    return Bounded(kappa, value, found.z, found.steps)


def _best_diagonal(
    form: BoxForm, signs: Array | None, tol: float, target: float, start: Array | None
) -> Bounded:
    """The same for a form whose numbers are of size 1."""
    g, H = form.g, form.H
    n = len(g)
    limited = np.ones(n, dtype=bool) if signs is None else ~signs
    widest = np.abs(H).sum(axis=1) + np.abs(g)
    scale = float(widest.max())
    kappa = widest - np.minimum(H.diagonal(), 0.0) + 1e-3 * scale
    if start is not None and _inverse(H, start) is not None and np.all(start[limited] > 0.0):
        kappa = start
    t, last = 0.1 * scale, 1e-2 * tol * scale
    best = Bounded(kappa, -np.inf, np.zeros(n), 0)
    for step in range(1, _MOST_STEPS + 1):
        found = _inverse(H, kappa)
        if found is None:
            break
        Q, factor = found
        q = dpotrs(factor, g, lower=1)[0]
        value = form.c - 0.5 * float(kappa.sum() + g @ q)
        if value > best.value:
            best = Bounded(kappa, value, np.clip(-q, -1.0, 1.0), step)
        if value > target:
            break
        move, decrement = _newton(kappa, Q, q, t, limited)
        kappa = _stepped(H, kappa, move, decrement / t, limited)
        if decrement < 0.5 * t:
            if t <= last:
                break
            t = max(t * _SHRINK, last)
    return best


def _newton(kappa: Array, Q: Array, q: Array, t: float, limited: Array) -> tuple[Array, float]:
    inverse = np.where(limited, 1.0 / kappa, 0.0)
    gradient = 0.5 - 0.5 * q * q - t * Q.diagonal() - t * inverse
    hessian = Q * (q[:, None] * q + t * Q)
    hessian.flat[:: len(q) + 1] += t * inverse * inverse
    root = 1.0 / np.sqrt(hessian.diagonal())
    scaled = hessian * root[:, None] * root
    scaled.flat[:: len(q) + 1] += 1e-13
    factor, info = dpotrf(scaled, lower=1)
    if info:
        return -gradient * root * root, 0.0
    move = -root * dpotrs(factor, root * gradient, lower=1)[0]
    return move, float(-gradient @ move)


def _stepped(H: Array, kappa: Array, move: Array, decrement: float, limited: Array) -> Array:
    """A step of Newton's, damped as far from the minimum as self-concordance asks, kept inside."""
    ratio = (move / kappa)[limited]
    least = float(ratio.min(initial=0.0))
    size = min(1.0, 0.95 / -least) if least < 0.0 else 1.0
    if decrement > 0.5:
        size = min(size, max(1.0 / (1.0 + np.sqrt(max(decrement, 0.0))), 0.05 * size))
    for _ in range(60):
        tried = kappa + size * move
        if _inverse(H, tried, inverse=False) is not None:
            return tried
        size *= 0.5
    return kappa


def _inverse(H: Array, kappa: Array, inverse: bool = True) -> tuple[Array, Array] | None:
    """The inverse of H + Diag(kappa) and its Cholesky factor; None where it has none."""
    P = H.copy()
    P.flat[:: len(H) + 1] += kappa
    factor, info = dpotrf(P, lower=1)
    if info or not np.isfinite(factor.diagonal()).all():
        return None
    if not inverse:
        return factor, factor
    Q, _ = dpotri(factor, lower=1)
    lower = np.tril(Q)
    return lower + np.tril(Q, -1).T, factor
