"""The checker's own reading of the inequalities in certificates of kind "tightened".

Each is an integer vector b = (p, q) of length 2d with an odd sum, so ``(p'u + q'v)^2 >= 1`` and, u
and v exchanged, ``(q'u + p'v)^2 >= 1`` for all signs. With ``c = p + q`` and ``e = p - q`` their
mean is ``<cc', P> + <ee', N> >= 1``, where ``P = (u+v)(u+v)'/4`` and ``N = (u-v)(u-v)'/4``. With
multipliers ``tau >= 0``, and

    S_P = Diag(a) - sum tau cc' - M >= 0,   S_N = Diag(a) - sum tau ee' + M >= 0

``0 <= <S_P, P> + <S_N, N> <= sum(a) - sum(tau) - u'Mv``, as ``diag(P) + diag(N) = 1`` and ``P - N``
has ``<M, P - N> = u'Mv``. For -u'Mv take -v for v. So ``|u'Mv| <= sum(a) - sum(tau)``.
"""

import numpy as np

from qnn.errors import CertificateError

Array = np.ndarray

# Entries are small, so that all sums of integers here are exact in floating arithmetic.
_LARGEST_ENTRY = 8


def check_cuts(cuts: Array | None, multipliers: Array | None, d: int) -> None:
    """Raise CertificateError unless every row is a true statement with a multiplier >= 0."""
    if cuts is None or multipliers is None:
        raise CertificateError("the inequalities or their multipliers are missing")
    if cuts.shape != (len(multipliers), 2 * d) or multipliers.ndim != 1:
        raise CertificateError(f"inequalities must be rows of {2 * d}, each with a multiplier")
    if not (np.isfinite(multipliers).all() and np.all(multipliers >= 0.0)):
        raise CertificateError("a multiplier is negative or not finite")
    wide = cuts.astype(np.int64)
    if np.any(np.abs(wide) > _LARGEST_ENTRY) or np.any(wide.sum(axis=1) % 2 != 1):
        raise CertificateError("an inequality's vector has an even sum or a large entry")


def cut_sums(cuts: Array, multipliers: Array, d: int) -> tuple[Array, Array, Array]:
    """``sum tau cc'``, ``sum tau ee'`` (d, d) as computed, and row sums (d,) that bound the errors.

    An entry sums T products of three factors (N. Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, section 3.1). The row sums hold for both matrices.
    """
    p, q = cuts[:, :d].astype(np.float64), cuts[:, d:].astype(np.float64)
    c, e = p + q, p - q
    K_P, K_N = (c * multipliers[:, None]).T @ c, (e * multipliers[:, None]).T @ e
    size = np.abs(p) + np.abs(q)
    sizes = (size * multipliers[:, None]).T @ size.sum(axis=1)
    count = 2 * len(cuts) + 2 * d + 20
    gamma = count * 2.0**-53 / (1.0 - count * 2.0**-53)
    tiny = d * (len(cuts) + 1.0) * 300.0 * float(np.finfo(np.float64).tiny)
    return 0.5 * (K_P + K_P.T), 0.5 * (K_N + K_N.T), 2.0 * gamma * sizes + tiny
