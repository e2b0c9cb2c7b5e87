"""Proofs about one slack matrix: semidefinite, and within the budget."""

import math
from fractions import Fraction

import numpy as np

from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, UNIT, gamma

Array = np.ndarray


def with_radius(
    M: Array, sizes: Array, n: int, underflow: float, touched: Array
) -> tuple[Array, Array]:
    """M made symmetric, and the row sums of its error bounds; ``sizes`` sum those of |products|.

    ``underflow`` bounds what an entry may lose where products leave the range of normal numbers;
    only entries whose row and column are ``touched`` (D,) by a product of numbers that are not 0
    lose anything, the others are exactly 0.

    Roundings an entry sees: n additions, in whatever order the blocks of rows bring them, 2
    products, 2 for the features' bit weights on each side, 1 for the template; twice over for the
    computed sizes themselves, which are sums of n times D products.
    """
    factor = gamma(2 * n + 2 * len(M) + 20)
    # The lower triangle, mirrored, is the matrix that is tested.
    lower = np.tril(M)
    M = lower + lower.T
    M.flat[:: len(M) + 1] *= 0.5
    lost = np.where(touched, np.count_nonzero(touched) * underflow, 0.0)
    return M, factor * sizes + lost


def underflow_of(rows: int, top: float, weight: float, scale: float = 0.0) -> float:
    """What an entry of M may lose in all by products that underflow.

    Each of them by at most the smallest normal number, whether small numbers are rounded or taken
    for 0: a feature, which then counts ``2 top |nu_i|`` times as much, ``nu_i`` times a feature,
    that times another, and the entry times the template. ``top``: the largest |feature|;
    ``weight``: the sum of |nu|; ``scale``: the largest |coefficient|. Twice that, for the bounds'
    own products.
    """
    each = rows * (1.0 + top + top * top) + 2.0 * weight * (1.0 + top)
    return 2.0 * TINY * (1.0 + each) * (1.0 + scale)


def prove_semidefinite(diagonal: Array, M: Array, radius: Array, margin: float) -> None:
    """Prove ``Diag(diagonal) + M' >= 0`` for every symmetric M' within the error bounds of M."""
    size = len(M)
    entry = M.diagonal()
    rounding = 4.0 * UNIT * margin * (np.abs(diagonal) + np.abs(entry) + radius)
    s = diagonal + entry - radius - rounding
    shift = margin * 1.01 * size * gamma(2 * size + 10)
    s = s * (1.0 - shift) - size * TINY
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


def prove_budget(diagonal: Array, beta: float, d: int) -> None:
    """Compare ``sum(diagonal) <= beta d``, in rational arithmetic where it is close."""
    # fsum and the product are each within 2^-52 relative of exact.
    if 0.0 <= math.fsum(diagonal.tolist()) < beta * d * (1.0 - 2.0**-50) < math.inf:
        return
    if sum(map(Fraction, diagonal.tolist()), Fraction(0)) > Fraction(beta) * d:
        raise CertificateError("the diagonal spends more than beta * d")
