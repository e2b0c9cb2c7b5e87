"""H from the rows, in floating arithmetic, with a bound of all its errors; and a factor below it.

With ``gamma_k`` as in `qnn.numerics.floating` (N. Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.1). Around any vector m, instead of the exact mean, the scatter is too
large by ``(mean - m)(mean - m)'``, whose entries are of second order in the mean's rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.certificates.slack import prove_semidefinite
from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, UNIT, gamma

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Gram:
    """H (d, d) as computed, symmetric, and per row a bound of the sum of its errors (d,)."""

    H: Array
    radius: Array


def gram_of(X: Array, row_weights: Array | None, rho: float) -> Gram:
    """H of rows X (n, d), weights (n,) at least 0 or None for equal ones, damping rho >= 0."""
    n, d = X.shape
    weights = np.ones(n) if row_weights is None else row_weights.astype(np.float64)
    total = float(weights.sum())
    if not (np.isfinite(total) and total > 0.0 and weights.min() >= 0.0):
        raise CertificateError("the weights of the rows are not finite, negative or all 0")
    # What a product loses that underflows, divided by a small total, is no longer small.
    lost = TINY * (n + 1.0) / min(total, 1.0)
    mean = (weights @ X) / total
    Y = X - mean
    weighted = weights[:, None] * Y
    H = np.tril(weighted.T @ Y) / total
    H = H + np.tril(H, -1).T
    absolute = np.abs(Y)
    sizes = (absolute.T @ (weights * absolute.sum(axis=1))) / total
    shift = gamma(2 * n + 10) * (weights @ np.abs(X)) / total + 2.0 * lost
    radius = gamma(2 * n + 2 * d + 40) * sizes + 1.01 * shift * shift.sum()
    H.flat[:: d + 1] += rho
    underflow = 4.0 * d * lost * (1.0 + absolute.max(initial=0.0))
    radius = 1.01 * radius + 4.0 * UNIT * np.abs(H.diagonal()) + underflow
    if not (np.isfinite(H).all() and np.isfinite(radius).all()):
        raise CertificateError("the Gram matrix of the rows overflows")
    return Gram(H, radius)


def factor_below(gram: Gram, order: Array, margin: float) -> Array:
    """R, upper triangular, for which ``H - R'R >= 0`` is proven; in the given order.

    R belongs to H less a multiple of the unit matrix, which is doubled until the proof succeeds.
    """
    H, radius = gram.H[np.ix_(order, order)], gram.radius[order]
    size = float(np.abs(H).max())
    less = 4.0 * margin * (float(radius.max()) + len(H) * gamma(len(H)) * size)
    for _ in range(12):
        try:
            R = np.linalg.cholesky(H - less * np.eye(len(H))).T
            _prove_below(H, radius, R, margin)
        except (CertificateError, np.linalg.LinAlgError):
            less *= 2.0
        else:
            return np.ascontiguousarray(R)
    raise CertificateError("the Gram matrix is not proven positive definite")


def _prove_below(H: Array, radius: Array, R: Array, margin: float) -> None:
    absolute = np.abs(R)
    errors = gamma(2 * len(R) + 20) * (absolute.T @ absolute.sum(axis=1))
    rest = H - R.T @ R
    errors = errors + 4.0 * UNIT * np.abs(H).sum(axis=1)
    prove_semidefinite(np.zeros(len(R)), rest, margin * (radius + errors), margin)


def value_above(gram: Gram, s: float, q: Array, w: Array) -> float:
    """At least ``(s q - w)' H (s q - w)``, exactly."""
    z = s * q - w
    off = 2.0 * UNIT * (np.abs(s * q) + np.abs(w))
    size, absolute = np.abs(z), np.abs(gram.H)
    value = float(z @ gram.H @ z)
    error = gamma(2 * len(z) + 10) * float(size @ absolute @ size)
    error += float(2.0 * size @ absolute @ off + off @ absolute @ off)
    error += float(gram.radius @ (size + off) ** 2)
    return value + 1.01 * error + TINY
