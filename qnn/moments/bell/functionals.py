"""The largest value of a Bell functional on a level, with a rational bound, proven exactly."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, prod

import numpy as np

from qnn.certificates.moments.checker import MomentCertificate, verify_moments
from qnn.certificates.moments.proofs import shift
from qnn.errors import CertificateError, InputError
from qnn.moments.bell.behaviours import deterministic, of_table
from qnn.moments.bell.solver import maximize
from qnn.moments.hierarchy import MomentMatrix, moment_matrix
from qnn.moments.words import Scenario
from qnn.numerics.arrays import floats_of

Array = np.ndarray

_TOLERANCE = 1e-10
# Bounds are stated in as many parts of a unit of the functional's size.
_PARTS = 10**10
_MOST_DETERMINISTIC = 200_000


@dataclass(frozen=True, eq=False)
class Maximum:
    """The maximum of a Bell functional over a level of the NPA hierarchy.

    ``bound`` is exact and proven: no behaviour of the level has a larger value, so no quantum
    behaviour. ``value`` is the functional at ``behaviour`` (p,), the solver's maximizer, in
    floating point. ``local_bound`` is the largest value of a local behaviour, by enumeration; None
    where there are too many.
    """

    scenario: str
    level: str
    constant: float
    coefficients: Array
    bound: Fraction
    value: float
    behaviour: Array
    local_bound: float | None
    certificate: MomentCertificate

    @property
    def upper_bound(self) -> float:
        """The bound as a float, rounded up."""
        rounded = float(self.bound)
        return rounded if rounded >= self.bound else float(np.nextafter(rounded, np.inf))


def maximum(coefficients: Array, scenario: str = "2222", level: str = "1+AB") -> Maximum:
    """The largest value of a Bell functional on a level, and its proof.

    Parameters
    ----------
    coefficients : (p,) of the coordinates of a behaviour, or weights on p(ab|xy), (X, Y, A, B).
    scenario, level : see `decide`.

    Raises
    ------
    InputError : for another shape, numbers that are not finite, or a level that is too large.
    CertificateError : where the solver gives nothing that proves a bound.
    """
    parsed = Scenario.parse(scenario)
    constant, c = _functional(coefficients, parsed)
    matrix = moment_matrix(parsed, level)
    size = float(np.abs(c).max())
    if size == 0.0:
        size = 1.0
    b, Y = maximize(matrix, c / size, _TOLERANCE)
    if not (np.isfinite(b).all() and np.isfinite(Y).all()):
        raise CertificateError("the solver ended without a dual point")
    Y = size * _dual(matrix, Y, c / size)
    certificate = _certified(parsed.name, level, constant, c, Y, size)
    behaviour = b + matrix.behaviour
    return Maximum(
        parsed.name, level, constant, c, Fraction(certificate.bound),
        constant + float(c @ behaviour), behaviour, _local(parsed, constant, c), certificate,
    )  # fmt: skip


def _functional(coefficients: Array, scenario: Scenario) -> tuple[float, Array]:
    c = floats_of(coefficients, "coefficients")
    if c.ndim != 1:
        if np.isfinite(c).all():
            _check_size(c)
        return of_table(c, scenario.name)
    if c.shape != (len(scenario.coordinates),) or not np.isfinite(c).all():
        raise InputError(
            f"a functional of scenario {scenario.name} has {len(scenario.coordinates)} finite "
            f"coefficients, or weights of shape {scenario.inputs + scenario.outcomes} on "
            "p(ab..|xy..)"
        )
    _check_size(c)
    return 0.0, c


def _check_size(c: Array) -> None:
    if c.any() and not 1e-60 <= np.abs(c).max() <= 1e60:
        raise InputError(
            "a functional's largest coefficient or weight must be between 1e-60 and 1e60: multiply "
            "them all"
        )


def _dual(level: MomentMatrix, Y: Array, c: Array) -> Array:
    """Y with ``<K_k, Y> = -c_k`` and ``<F_i, Y> = 0`` to rounding, and positive definite."""
    Y = level.project(Y)
    present = level.fixed.norms > 0
    miss = np.zeros_like(c)
    miss[present] = (level.fixed.pairing(Y) + c)[present] / level.fixed.norms[present]
    Y -= level.assemble(miss, np.zeros(level.free.count))
    factor = np.linalg.cholesky(level.centre)
    lowest = np.linalg.eigvalsh(factor.T @ Y @ factor)[0]
    room = 6.0 * shift(level.size) * np.linalg.eigvalsh(level.centre)[-1] * np.abs(Y).max()
    Y += (max(-lowest, 0.0) + room) * level.inverse
    return 0.5 * (Y + Y.T)


def _certified(
    scenario: str, level: str, constant: float, c: Array, Y: Array, size: float
) -> MomentCertificate:
    """The certificate that states the proven bound, rounded up to a short fraction."""
    unstated = MomentCertificate(
        "maximum", scenario, level, c, str(Fraction(np.finfo(np.float64).max)), matrix=Y,
        constant=constant,
    )  # fmt: skip
    proven = verify_moments(unstated)
    parts = _PARTS / Fraction(2.0 ** round(float(np.log2(size))))
    bound = Fraction(ceil(proven * parts)) / parts
    return MomentCertificate("maximum", scenario, level, c, str(bound), matrix=Y, constant=constant)


def _local(scenario: Scenario, constant: float, c: Array) -> float | None:
    pairs = zip(scenario.inputs, scenario.outcomes, strict=True)
    if prod(k**m for m, k in pairs) > _MOST_DETERMINISTIC:
        return None
    return constant + float((deterministic(scenario.name) @ c).max())
