"""The proof of kind "tightened": diagonals and inequalities that hold at all signs.

Each is an integer vector b = (p, q) of length 2d with an odd sum, so ``(p'u + q'v)^2 >= 1`` and, u
and v exchanged, ``(q'u + p'v)^2 >= 1`` for all signs. With ``c = p + q`` and ``e = p - q`` their
mean is ``<cc', P> + <ee', N> >= 1``, where ``P = (u+v)(u+v)'/4`` and ``N = (u-v)(u-v)'/4``. With
multipliers ``tau >= 0``, and

    S_P = Diag(a) - sum tau cc' - M >= 0,   S_N = Diag(a) - sum tau ee' + M >= 0

``0 <= <S_P, P> + <S_N, N> <= sum(a) - sum(tau) - u'Mv``, as ``diag(P) + diag(N) = 1`` and ``P - N``
has ``<M, P - N> = u'Mv``. For -u'Mv take -v for v. So ``|u'Mv| <= sum(a) - sum(tau)``.

Polynomial activation: b has the length of the lift, and ``(b'u)^2 >= 1`` itself is used. M and -M,
here tM, have multipliers of their own, those of M first: ``Diag(a) - sum tau bb' - tM >= 0`` gives
``tu'Mu <= sum(a) - sum(tau)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.fields import Reader, numbers
from qnn.certificates.proofs.base import Proof
from qnn.certificates.proofs.diagonal import (
    DIAGONALS,
    check_diagonals,
    named,
    read_diagonals,
    slacks,
)
from qnn.certificates.slack import prove_budget, prove_semidefinite
from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, UNIT, gamma

Array = np.ndarray

# Entries are small, so that all sums of integers here are exact in floating arithmetic.
_LARGEST_ENTRY = 8


@dataclass(frozen=True, eq=False)
class CutsProof(Proof):
    """``diagonals``, and ``vectors`` (T, 2d) of inequalities with their ``multipliers`` (T,) >= 0.

    Of a polynomial activation: vectors (T, D) and multipliers (2T,), first those of M and of the
    first diagonal, then those of -M and of the second.
    """

    name: ClassVar[str] = "cuts"
    kind: ClassVar[str] = "tightened"
    fields: ClassVar[Mapping[str, Reader]] = {
        **DIAGONALS,
        "cuts": numbers(2, np.int8),
        "multipliers": numbers(1),
    }
    misplaced: ClassVar[str] = "inequalities do not belong to kind {kind!r}"

    diagonals: tuple[Array, ...]
    vectors: Array
    multipliers: Array

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """From the diagonals, ``cuts`` and ``multipliers``."""
        if "cuts" not in members or "multipliers" not in members:
            raise CertificateError("the inequalities or their multipliers are missing")
        return cls(read_diagonals(members), members["cuts"], members["multipliers"])

    def members(self) -> dict[str, Any]:
        """The diagonals by their names, the inequalities, and the kind."""
        own = {"cuts": self.vectors, "multipliers": self.multipliers}
        return {**named(self.diagonals), **own, "kind": self.kind}

    def fits(self, claim: Claim) -> None:
        """Every inequality is true, every multiplier nonnegative, every diagonal of M's order."""
        width = 2 * claim.d if claim.bilinear else claim.size
        check_cuts(self.vectors, self.multipliers, width, claim.bilinear)
        check_diagonals(self.diagonals, claim)

    def prove(self, M: Array, radius: Array, claim: Claim, margin: float) -> None:
        """Semidefinite with the inequalities, and within the budget less the multipliers."""
        for (a, sign), (K, error, own) in zip(
            slacks(self.diagonals), self._sides(claim), strict=True
        ):
            # One more rounding in each entry of the sum.
            rounding = 4.0 * UNIT * (np.abs(K) + np.abs(M)).sum(axis=1)
            prove_semidefinite(a, sign * M - K, margin * (radius + error + rounding), margin)
            prove_budget(np.concatenate([a, -own]), claim.beta, claim.d)

    def _sides(self, claim: Claim) -> list[tuple[Array, Array, Array]]:
        """For M and -M: the sum of inequalities, its errors' row sums, and the multipliers."""
        tau = self.multipliers
        if claim.bilinear:
            K_P, K_N, error = cut_sums(self.vectors, tau, claim.d)
            return [(K_P, error, tau), (K_N, error, tau)]
        return [(*form_cut_sums(self.vectors, own), own) for own in np.split(tau, 2)]


def check_cuts(cuts: Array, multipliers: Array, width: int, common: bool) -> None:
    """Raise CertificateError unless every row is a true statement with its multipliers >= 0.

    width : of the rows. common : one multiplier for M and -M; else each has one.
    """
    each = 1 if common else 2
    if cuts.ndim != 2 or cuts.shape[1] != width or multipliers.shape != (each * len(cuts),):
        words = "a multiplier" if common else "two multipliers"
        raise CertificateError(f"inequalities must be rows of {width}, each with {words}")
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
    error = _error(np.abs(p) + np.abs(q), multipliers)
    return _sum(p + q, multipliers), _sum(p - q, multipliers), error


def form_cut_sums(cuts: Array, multipliers: Array) -> tuple[Array, Array]:
    """``sum tau bb'`` (D, D) as computed, and row sums (D,) that bound the errors."""
    b = cuts.astype(np.float64)
    return _sum(b, multipliers), _error(np.abs(b), multipliers)


def _sum(c: Array, multipliers: Array) -> Array:
    K = (c * multipliers[:, None]).T @ c
    return np.asarray(0.5 * (K + K.T))


def _error(size: Array, multipliers: Array) -> Array:
    """Of the sums over vectors with entries of at most ``size`` (T, d)."""
    count, d = size.shape
    sizes = (size * multipliers[:, None]).T @ size.sum(axis=1)
    # Integers times a number that is not 0 are not 0: without sizes there is nothing to lose.
    tiny = np.where(sizes > 0.0, d * (count + 1.0) * 300.0 * TINY, 0.0)
    return np.asarray(2.0 * gamma(2 * count + 2 * d + 20) * sizes + tiny)
