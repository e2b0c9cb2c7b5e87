"""Proofs about one slack matrix: semidefinite, and within the budget."""

import contextlib
import math
from fractions import Fraction
from typing import TypeVar

import numpy as np

from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, UNIT, gamma

Array = np.ndarray
Value = TypeVar("Value", float, np.ndarray)


def with_radius(
    M: Array, sizes: Array, n: int, underflow: float, touched: Array
) -> tuple[Array, Array]:
    """M made symmetric, and the row sums of its error bounds; ``sizes`` sum those of |products|.

    ``underflow`` bounds what an entry may lose where products leave the range of normal numbers;
    only entries whose row and column are ``touched`` (D,) by a product of numbers that are not 0
    lose anything, the others are exactly 0.

    """
    # The lower triangle, mirrored, is the matrix that is tested.
    lower = np.tril(M)
    M = lower + lower.T
    M.flat[:: len(M) + 1] *= 0.5
    lost = np.where(touched, np.count_nonzero(touched) * underflow, 0.0)
    return M, radius_of(sizes, n, len(M)) + lost


def radius_of(sizes: Array, n: int, size: int) -> Array:
    """What the roundings of M, of order ``size``, add up to in a row, where nothing underflows.

    Roundings an entry sees: n additions, in whatever order the blocks of rows bring them, 2
    products, 2 for the features' bit weights on each side, 1 for the template; twice over for the
    computed sizes themselves, which are sums of n times D products.
    """
    return gamma(2 * n + 2 * size + 20) * sizes


def underflow_of(rows: int, top: float, weight: Value, scale: float = 0.0) -> Value:
    """What an entry of M may lose in all by products that underflow.

    Each of them by at most the smallest normal number, whether small numbers are rounded or taken
    for 0: a feature, which then counts ``2 top |nu_i|`` times as much, ``nu_i`` times a feature,
    that times another, and the entry times the template. ``top``: the largest |feature|;
    ``weight``: the sum of |nu|, of each of several points where it is an array; ``scale``: the
    largest |coefficient|. Twice that, for the bounds' own products.
    """
    each = rows * (1.0 + top + top * top) + 2.0 * weight * (1.0 + top)
    return 2.0 * TINY * (1.0 + each) * (1.0 + scale)


def prove_semidefinite(diagonal: Array, M: Array, radius: Array, margin: float) -> None:
    """Prove ``Diag(diagonal) + M' >= 0`` for every symmetric M' within the error bounds of M."""
    shift = _shift(len(M), margin)
    s = _lowered(diagonal, M.diagonal(), radius, margin)
    S = M
    if not s.min() > 0.0:
        # A row without any coupling needs only a diagonal that is not negative.
        free = ~M.any(axis=1) & (radius == 0.0) & (diagonal >= 0.0)
        S, s = M[np.ix_(~free, ~free)], s[~free]
        if not np.all(s > 0.0):
            raise CertificateError("a diagonal entry of the dual slack is not proven positive")
    if shift >= 0.5:
        raise CertificateError("a diagonal entry of the dual slack is not proven positive")
    S = S.copy()
    S.flat[:: len(S) + 1] = s
    if not np.isfinite(S).all():
        raise CertificateError("the dual slack overflows")
    try:
        factor = np.linalg.cholesky(S)
    except np.linalg.LinAlgError:
        raise CertificateError("the dual slack is not proven positive semidefinite") from None
    if not np.isfinite(factor).all():
        raise CertificateError("the dual slack is not proven positive semidefinite")


def semidefinite(diagonals: Array, M: Array, radius: Array, margin: float) -> Array:
    """Of which matrices of a stack `prove_semidefinite` holds, (K,).

    ``diagonals`` and ``radius`` (K, D), M (K, D, D), of which the lower triangles are read. A row
    without any coupling has no exception here: its diagonal must be positive too.
    """
    S = M.copy()
    places = np.arange(M.shape[1])
    s = _lowered(diagonals, M[:, places, places], radius, margin)
    S[:, places, places] = s
    proven = (s > 0.0).all(axis=1) & np.isfinite(S).all(axis=(1, 2))
    if _shift(M.shape[1], margin) >= 0.5:
        proven[:] = False
    S[~proven] = np.eye(M.shape[1])
    try:
        factors = np.linalg.cholesky(S)
    except np.linalg.LinAlgError:
        factors = np.stack([_factor(one) for one in S])
    return proven & np.isfinite(factors).all(axis=(1, 2))


def _factor(S: Array) -> Array:
    try:
        return np.linalg.cholesky(S)
    except np.linalg.LinAlgError:
        return np.full_like(S, np.nan)


def _lowered(diagonal: Array, entry: Array, radius: Array, margin: float) -> Array:
    """The slack's diagonal less all that its factorization must prove it against, (..., D)."""
    size = diagonal.shape[-1]
    rounding = 4.0 * UNIT * margin * (np.abs(diagonal) + np.abs(entry) + radius)
    s = diagonal + entry - radius - rounding
    return s * (1.0 - _shift(size, margin)) - size * TINY


def _shift(size: int, margin: float) -> float:
    """The relative reduction that turns a finished factorization into a proof."""
    return margin * 1.01 * size * gamma(2 * size + 10)


def prove_budget(diagonal: Array, beta: float, d: int) -> None:
    """Compare ``sum(diagonal) <= beta d``, in rational arithmetic where it is close."""
    # fsum and the product are each within 2^-52 relative of exact; what overflows is not close.
    with contextlib.suppress(OverflowError):
        if 0.0 <= math.fsum(diagonal.tolist()) < beta * d * (1.0 - 2.0**-50) < math.inf:
            return
    if sum(map(Fraction, diagonal.tolist()), Fraction(0)) > Fraction(beta) * d:
        raise CertificateError("the diagonal spends more than beta * d")
