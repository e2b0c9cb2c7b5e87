"""The certificate of a claim about moments, its npz file without pickle, and its checker.

One certificate is checked in rational arithmetic, but for the Cholesky factorization, if wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from math import lcm
from typing import ClassVar, Self

import numpy as np

from qnn.certificates.fields import Filed, Reader, integer, number, numbers, text
from qnn.certificates.moments.proofs import definite
from qnn.certificates.moments.structure import Structure, structure
from qnn.errors import CertificateError, NotACertificateError

Array = np.ndarray
Matrix = list[list[Fraction]]

FORMAT = 1
CLAIMS = ("inside", "outside", "maximum")
# Longer numbers are no bound that this package writes.
_MOST_DIGITS = 1000
_READERS: Mapping[str, Reader] = {
    "kind": text,
    "claim": text,
    "scenario": text,
    "level": text,
    "behaviour": numbers(1),
    "bound": text,
    "moments": numbers(1),
    "matrix": numbers(2),
    "constant": number,
    "format": integer,
}
_OPTIONAL = {"moments", "matrix"}


@dataclass(frozen=True, eq=False)
class MomentCertificate(Filed):
    """What proves a claim about a level of moment matrices of a Bell scenario.

    ``claim`` is

    * "inside": with the free ``moments`` (f,), the moment matrix of ``behaviour`` (p,) at the gauge
      ``bound`` is positive definite, so the gauge is at most that, and that is at most 1;
    * "outside": ``matrix`` (n, n), symmetric and positive definite, proves the gauge to be at least
      ``bound``, above 1;
    * "maximum": ``matrix`` proves that no behaviour of the level has a value above ``bound`` of the
      functional ``constant + behaviour . b``, whose coefficients stand in ``behaviour``.

    ``bound`` is a decimal or a fraction "p/q", exact as it stands. The arrays are what
    `qnn.certificates.moments.proofs` calls b, m and Y.
    """

    kind: ClassVar[str] = "moments"
    evidence: ClassVar[str | None] = None

    claim: str
    scenario: str
    level: str
    behaviour: Array
    bound: str
    moments: Array | None = None
    matrix: Array | None = None
    constant: float = 0.0
    format: int = FORMAT

    def arrays(self) -> dict[str, Array]:
        """The kind and the fields as plain arrays, those without a value left out."""
        values = {"kind": self.kind} | {
            field.name: getattr(self, field.name) for field in fields(self)
        }
        return {name: np.asarray(value) for name, value in values.items() if value is not None}

    def check(self, evidence: bytes | None = None, fast: bool = False) -> str:
        """What is proven, in a few words; CertificateError where it is not."""
        bound = self.verify(fast=fast)
        if self.claim == "maximum":
            return f"maximum {bound!r}"
        return f"{self.claim}, gauge {bound!r}"

    def verify(self, behaviour: Array | None = None, fast: bool = False) -> float:
        """The bound that is proven, rounded to the safe side; see `verify_moments`."""
        exact = verify_moments(self, behaviour)
        bound = _as_float(exact)
        if self.claim == "outside":
            return bound if Fraction(bound) <= exact else float(np.nextafter(bound, 0.0))
        return bound if Fraction(bound) >= exact else float(np.nextafter(bound, np.inf))

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], where: str) -> Self:
        """The record from plain arrays; ``where`` names their origin in errors."""
        missing = set(_READERS) - _OPTIONAL - set(arrays)
        foreign = set(arrays) - set(_READERS)
        if missing or foreign:
            what = f"lacks {sorted(missing)[0]!r}" if missing else f"has {sorted(foreign)[0]!r}"
            raise NotACertificateError(
                f"{where}: not a certificate of moments, format {FORMAT}: it {what}"
            )
        try:
            values = {name: _READERS[name](array) for name, array in arrays.items()}
        except (TypeError, ValueError):
            raise NotACertificateError(
                f"{where}: a field of the certificate has the wrong type"
            ) from None
        if values.pop("kind") != cls.kind:
            raise NotACertificateError(f"{where}: not a certificate of moments")
        if values["format"] != FORMAT:
            raise NotACertificateError(
                f"{where}: certificate format {values['format']} is not {FORMAT}: use the version "
                "that wrote it"
            )
        return cls(**values)


@dataclass(frozen=True)
class Inequality:
    """``sum_k coefficients[k] b[k] <= bound`` for every behaviour b of the level; all exact."""

    coefficients: tuple[Fraction, ...]
    bound: Fraction

    def violation(self, behaviour: Array) -> Fraction:
        """How far a behaviour (p,) lies beyond it, exactly, its floats taken as they are."""
        pairs = zip(self.coefficients, behaviour.tolist(), strict=True)
        return sum((c * Fraction(value) for c, value in pairs), Fraction(0)) - self.bound


def verify_moments(
    certificate: MomentCertificate, behaviour: Array | None = None, exact: bool = False
) -> Fraction:
    """The bound that a certificate proves, as an exact fraction.

    Parameters
    ----------
    certificate : the record; what it states is not trusted, only compared.
    behaviour : the behaviour (p,) it should speak of, or the coefficients of the functional,
        compared entry by entry; None: whichever it names.
    exact : prove definiteness by rational elimination instead of a floating Cholesky with a shift
        that covers its rounding. All else is rational either way.

    Returns
    -------
    Of "inside" an upper bound of the gauge, at most 1; of "outside" a lower bound, above 1; of
    "maximum" an upper bound of the functional over the level.

    Raises
    ------
    CertificateError : where anything is not proven.
    """
    level = _checked(certificate)
    if behaviour is not None and not np.array_equal(certificate.behaviour, behaviour):
        raise CertificateError("the behaviour is not that of the certificate")
    stated = _stated(certificate.bound)
    if certificate.claim == "inside":
        assert certificate.moments is not None
        if not 0 < stated <= 1:
            raise CertificateError("the gauge of a behaviour inside is at most 1")
        gamma = _moment_matrix(level, certificate.behaviour, certificate.moments, stated)
        _prove_definite(gamma, exact)
        return stated
    assert certificate.matrix is not None
    Y = _fractions(certificate.matrix)
    _prove_definite(Y, exact)
    sums = _sums(level, Y)
    if certificate.claim == "outside":
        if stated <= 1:
            raise CertificateError("the gauge of a behaviour outside is above 1")
        proven = _gauge_above(level, certificate.behaviour, sums)
        if not stated <= proven:
            raise _too_much(stated, proven)
        return proven
    proven = Fraction(certificate.constant) + _value_below(level, certificate.behaviour, sums)
    if not proven <= stated:
        raise _too_much(stated, proven)
    return proven


def _too_much(stated: Fraction, proven: Fraction) -> CertificateError:
    return CertificateError(f"it states {_as_float(stated)!r}, {_as_float(proven)!r} is proven")


def _as_float(bound: Fraction) -> float:
    try:
        return float(bound)
    except OverflowError:
        raise CertificateError("it states, or proves, a bound beyond all float64 numbers") from None


def inequality(certificate: MomentCertificate) -> Inequality:
    """The Bell inequality of a certificate of the claim "outside" or "maximum"; proven elsewhere.

    Whether its matrix is positive definite is for `verify_moments` to say.
    """
    level = _checked(certificate)
    if certificate.matrix is None:
        raise CertificateError("a certificate of the claim 'inside' has no inequality")
    one, kappa, residual = _sums(level, _fractions(certificate.matrix))
    return Inequality(tuple(-value for value in kappa), one + residual)


def _checked(certificate: MomentCertificate) -> Structure:
    """The level's structure, where every field has the type and shape that belongs to the claim."""
    if certificate.format != FORMAT:
        raise CertificateError(f"unknown certificate format {certificate.format}")
    if certificate.claim not in CLAIMS:
        raise CertificateError(f"unknown claim {str(certificate.claim)[:40]!r}")
    level = structure(certificate.scenario, certificate.level)
    inside = certificate.claim == "inside"
    if (certificate.moments is not None) != inside or (certificate.matrix is None) != inside:
        raise CertificateError(f"its arrays do not belong to the claim {certificate.claim!r}")
    _finite("behaviour", certificate.behaviour, (level.coordinates,))
    _finite("constant", np.asarray(certificate.constant), ())
    if certificate.claim != "maximum" and certificate.constant != 0.0:
        raise CertificateError(f"a constant does not belong to the claim {certificate.claim!r}")
    if certificate.moments is not None:
        _finite("moments", certificate.moments, (level.free,))
    if certificate.matrix is not None:
        _finite("matrix", certificate.matrix, (level.size, level.size))
        if not np.array_equal(certificate.matrix, certificate.matrix.T):
            raise CertificateError("matrix is not symmetric")
    return level


def _finite(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if not (
        isinstance(array, np.ndarray)
        and array.dtype == np.float64
        and array.shape == shape
        and np.isfinite(array).all()
    ):
        raise CertificateError(f"{name} must be finite float64 numbers of shape {shape}")


def _stated(bound: str) -> Fraction:
    try:
        if len(bound) <= _MOST_DIGITS and "e" not in bound.lower():
            return Fraction(bound)
    except (TypeError, ValueError, ZeroDivisionError):
        pass
    raise CertificateError("its bound is not a decimal or a fraction")


def _fractions(matrix: Array) -> Matrix:
    return [[Fraction(value) for value in row] for row in matrix.tolist()]


def _moment_matrix(level: Structure, behaviour: Array, moments: Array, s: Fraction) -> Matrix:
    """The moment matrix of ``noise + (behaviour - noise) / s``, times s as the moments are."""
    known = [
        (s - 1) * noise + Fraction(value)
        for noise, value in zip(level.noise_exact, behaviour.tolist(), strict=True)
    ]
    values = [*known, *map(Fraction, moments.tolist()), s]
    gamma = [[Fraction(0)] * level.size for _ in range(level.size)]
    for i, j, kind in zip(level.row, level.column, level.kind, strict=True):
        gamma[i][j] = gamma[j][i] = values[kind]
    return gamma


def _sums(level: Structure, Y: Matrix) -> tuple[Fraction, list[Fraction], Fraction]:
    """Sums of Y over the entries of the moment 1 and of each coordinate; those of free ones' sizes.

    A free moment is at most 1 in size, so the last is what missed equalities can cost.
    """
    sums = [Fraction(0)] * (level.coordinates + level.free + 1)
    for i, j, kind in zip(level.row, level.column, level.kind, strict=True):
        sums[kind] += Y[i][j] if i == j else 2 * Y[i][j]
    free = sums[level.coordinates : -1]
    return sums[-1], sums[: level.coordinates], sum(map(abs, free), Fraction(0))


def _gauge_above(
    level: Structure, behaviour: Array, sums: tuple[Fraction, list[Fraction], Fraction]
) -> Fraction:
    one, kappa, residual = sums
    triples = list(zip(kappa, level.noise_exact, behaviour.tolist(), strict=True))
    above = sum(((noise - Fraction(b)) * k for k, noise, b in triples), Fraction(0))
    below = one + residual + sum((noise * k for k, noise, _ in triples), Fraction(0))
    return above / below if above > 0 and below > 0 else Fraction(0)


def _value_below(
    level: Structure, coefficients: Array, sums: tuple[Fraction, list[Fraction], Fraction]
) -> Fraction:
    """No behaviour's ``coefficients . b`` is above it; coordinates are at most 1 in size."""
    one, kappa, residual = sums
    pairs = zip(kappa, coefficients.tolist(), strict=True)
    return one + residual + sum((abs(Fraction(c) + k) for k, c in pairs), Fraction(0))


def _prove_definite(matrix: Matrix, exact: bool) -> None:
    if not (definite_exactly(matrix) if exact else _definite_in_floats(matrix)):
        raise CertificateError("its matrix is not proven positive definite")


def _definite_in_floats(matrix: Matrix) -> bool:
    try:
        return definite(np.array([[float(value) for value in row] for row in matrix]))
    except OverflowError:
        return False


def definite_exactly(matrix: Matrix) -> bool:
    """Whether all leading minors are positive, by fraction-free elimination (E. Bareiss, 1968)."""
    common = lcm(*(value.denominator for row in matrix for value in row))
    rows = [[int(value * common) for value in row] for row in matrix]
    last = 1
    for k in range(len(rows)):
        pivot = rows[k][k]
        if pivot <= 0:
            return False
        for i in range(k + 1, len(rows)):
            for j in range(k + 1, i + 1):
                rows[i][j] = (rows[i][j] * pivot - rows[i][k] * rows[j][k]) // last
        last = pivot
    return True
