"""The checker of upper bounds for constraint satisfaction; it shares no code with the search.

With x the signs of `CspProof`, twice the indicator of "variable i has value a" is
`h_ia'x`, h_ia = e_0 − e_ia for a < k − 1 and (3 − k) e_0 + Σ e_ia for the last, so four times the
value less the constant is x'Fx, with F summed from the tables. Of a leaf, x = Pw, w = (1, free
signs), P having one ±1 in each row; with S = Diag(a) − P'FP − Σ τ bb' − Σ ρ ee' ⪰ 0,

    0 <= w'Sw = Σ a − x'Fx − Σ τ (b'w)² − Σ ρ (e'w)² <= Σ a − Σ τ − Σ ρ − x'Fx

because b'w is an odd whole number (b = P' of an odd vector), τ >= 0, and e'w = −w_0 + w_ia + w_ib
is ±1, two signs of a variable never being −1 at once. S is proven semidefinite for all F within
the errors of its computed entries (`prove_semidefinite`), and the sums are rational.

The tree covers all assignments by its shape. Where adding 1 (mod k) to all values changes no
payoff, one variable may be taken as 0 at the root.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from qnn.certificates.csp.layout import FORMATS, CspProof
from qnn.certificates.csp.payoffs import Payoffs
from qnn.certificates.slack import prove_semidefinite
from qnn.errors import CertificateError, shown
from qnn.numerics.floating import TINY, gamma
from qnn.numerics.memory import available_memory

Array = np.ndarray

_LARGEST_COEFFICIENT = 64
# Larger numbers could overflow in sums of products.
_LARGEST_PAYOFF = 1e100


def verify_csp(certificate: CspProof, payoffs: Payoffs) -> float:
    """The proven upper bound of a certificate, which no assignment's value exceeds.

    Raises CertificateError where anything is not proven, or less than the certificate states.
    """
    if certificate.problem_sha256 != payoffs.digest():
        raise CertificateError("the certificate is of another problem (SHA-256 differs)")
    bound = proven_upper_bound(certificate, payoffs)
    if not certificate.upper_bound >= bound:
        raise CertificateError(
            f"it states the bound {shown(certificate.upper_bound)}, but only "
            f"{shown(bound)} is proven"
        )
    return bound


def proven_upper_bound(certificate: CspProof, payoffs: Payoffs, margin: float = 1.0) -> float:
    """The bound that the leaves prove, whatever the record states.

    ``margin`` multiplies every allowance for rounding; a maker asks for 2 or more.
    """
    check_payoffs(payoffs)
    _check_record(certificate, payoffs)
    _check_memory(certificate)
    form = _Form.of(payoffs)
    leaves = _leaves(certificate, payoffs)
    at, pairs = 0, 0
    largest: Fraction | None = None
    rounding = margin * form.spent
    cuts = _dense_cuts(certificate, form.width)
    for number, values in enumerate(leaves):
        free = int(np.count_nonzero(values < 0))
        size, excluded = 1 + free * (payoffs.k - 1), free * ((payoffs.k - 1) * (payoffs.k - 2) // 2)
        diagonal = certificate.diagonals[at : at + size].astype(np.float64)
        rho = certificate.exclusions[pairs : pairs + excluded].astype(np.float64)
        at, pairs = at + size, pairs + excluded
        if len(diagonal) != size or len(rho) != excluded:
            raise CertificateError("there are too few numbers for the leaves")
        first, last = certificate.leaf_starts[number : number + 2]
        tau = certificate.multipliers[first:last].astype(np.float64)
        b = cuts[certificate.leaf_cuts[first:last]]
        _prove_leaf(form, values, diagonal, b, tau, rho, margin)
        total = _sum(diagonal) - _sum(tau) - _sum(rho)
        largest = total if largest is None else max(largest, total)
    if at != len(certificate.diagonals) or pairs != len(certificate.exclusions):
        raise CertificateError("there are more numbers than the leaves have")
    assert largest is not None
    return _as_float((largest + Fraction(rounding)) / 4 + Fraction(payoffs.constant), payoffs)


def check_payoffs(payoffs: Payoffs) -> None:
    """Raise CertificateError unless these are payoffs of a problem, all finite."""
    n, k, m = payoffs.n, payoffs.k, len(payoffs.pairs)
    shapes = (payoffs.unary.shape, payoffs.pairs.shape, payoffs.tables.shape)
    if n < 1 or k < 2 or shapes != ((n, k), (m, 2), (m, k, k)):
        raise CertificateError("the payoffs of the problem have wrong shapes")
    if payoffs.pairs.dtype.kind != "i":
        raise CertificateError("the pairs of the problem are not whole numbers")
    i, j = payoffs.pairs.T
    if m and (payoffs.pairs.min() < 0 or payoffs.pairs.max() >= n or np.any(i == j)):
        raise CertificateError("a constraint is not about two variables of the problem")
    for numbers in (payoffs.unary, payoffs.tables, np.asarray(payoffs.constant)):
        if not np.all(np.abs(numbers) <= _LARGEST_PAYOFF):
            raise CertificateError("a payoff is not finite, or larger than 1e100")


def _check_record(certificate: CspProof, payoffs: Payoffs) -> None:
    c = certificate
    if c.format not in FORMATS:
        raise CertificateError(f"unknown certificate format {c.format}")
    if (c.n, c.k) != (payoffs.n, payoffs.k):
        raise CertificateError(
            f"it is for {c.n} variables of {c.k} values, the problem has {payoffs.n} of {payoffs.k}"
        )
    for name in ("diagonals", "exclusions", "multipliers"):
        if not np.isfinite(getattr(c, name)).all():
            raise CertificateError(f"the {name} are not finite")
    if np.any(c.multipliers < 0.0):
        raise CertificateError("a multiplier is negative")
    width = 1 + c.n * (c.k - 1)
    _check_starts(c.cut_starts, len(c.cut_entries), None)
    _check_starts(c.leaf_starts, len(c.leaf_cuts), c.leaves)
    _check_within(c.cut_entries, width, "a cut's entry")
    _check_within(c.leaf_cuts, len(c.cut_starts) - 1, "a leaf's cut")
    if len(c.cut_coefficients) != len(c.cut_entries) or len(c.multipliers) != len(c.leaf_cuts):
        raise CertificateError("cuts lack coefficients or multipliers")
    coefficients = c.cut_coefficients.astype(np.int64)
    if np.any(np.abs(coefficients) > _LARGEST_COEFFICIENT):
        raise CertificateError("a coefficient of a cut is too large")
    sums = np.concatenate([[0], np.cumsum(coefficients)])[c.cut_starts]
    if np.any(np.diff(sums) % 2 == 0):
        raise CertificateError("a cut's vector has an even sum")


def _check_memory(certificate: CspProof) -> None:
    """Raise CertificateError where what is formed needs more than is free: few bytes may ask it."""
    n, k, width = certificate.n, certificate.k, 1 + certificate.n * (certificate.k - 1)
    rows = len(certificate.cut_starts) + n * ((k - 1) * (k - 2) // 2)
    # W, its errors, F, P and what their products leave behind; cuts and exclusions, thrice.
    numbers = 10 * (n * k) ** 2 + 4 * rows * width + n * len(certificate.tree)
    free = available_memory()
    if 8 * numbers > free:
        raise CertificateError(
            f"checking it takes some {8 * numbers / 2**30:.3g} GiB of memory, and "
            f"{free / 2**30:.3g} are free"
        )


def _check_starts(starts: Array, total: int, count: int | None) -> None:
    good = len(starts) >= 1 and starts[0] == 0 and starts[-1] == total
    # Compared, not subtracted: differences of any int32 wrap around.
    good = good and bool(np.all(starts[1:] >= starts[:-1]))
    if not good or (count is not None and len(starts) != count + 1):
        raise CertificateError("the cuts of the leaves are not laid out one after the other")


def _check_within(numbers: Array, size: int, what: str) -> None:
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < size):
        raise CertificateError(f"{what} is none of {size}")


def _leaves(certificate: CspProof, payoffs: Payoffs) -> list[Array]:
    """The values (n,) that each leaf fixes, −1 where free, in the order of the tree."""
    n, k = payoffs.n, payoffs.k
    root = np.full(n, -1, dtype=np.int64)
    if certificate.free != -1:
        if not 0 <= certificate.free < n:
            raise CertificateError("the variable that is free to be 0 is none of the problem")
        if not _symmetric(payoffs):
            raise CertificateError("a variable is taken as 0, but the values are not symmetric")
        root[certificate.free] = 0
    pending, leaves = [root], []
    for variable in certificate.tree.tolist():
        if not pending:
            raise CertificateError("the tree goes on after its end")
        values = pending.pop()
        if variable == -1:
            leaves.append(values)
            continue
        if not 0 <= variable < n or values[variable] != -1:
            raise CertificateError("the tree splits a variable that is fixed or does not exist")
        for value in reversed(range(k)):
            child = values.copy()
            child[variable] = value
            pending.append(child)
    if pending:
        raise CertificateError("the tree does not cover all assignments")
    return leaves


def _symmetric(payoffs: Payoffs) -> bool:
    """Whether adding 1 (mod k) to all values changes no payoff."""
    turned = np.roll(payoffs.tables, (1, 1), axis=(1, 2))
    return bool(
        np.array_equal(turned, payoffs.tables)
        and np.array_equal(np.roll(payoffs.unary, 1, axis=1), payoffs.unary)
    )


class _Form:
    """F (D, D) symmetric, and row sums (D,) that bound the errors of its entries."""

    def __init__(self, F: Array, radius: Array, sizes: Array, k: int, size: float) -> None:
        self.F, self.radius, self.sizes, self.k = F, radius, sizes, k
        self.width = len(F)
        # The sums of leaves are rational; what F lacks is in the radius. Underflow alone is left.
        self.spent = self.width**2 * TINY * (1.0 + size)

    @classmethod
    def of(cls, payoffs: Payoffs) -> _Form:
        n, k = payoffs.n, payoffs.k
        W = np.zeros((n, k, n, k))
        sizes = np.zeros((n, k, n, k))
        i, j = payoffs.pairs.T
        for target, tables in ((W, payoffs.tables), (sizes, np.abs(payoffs.tables))):
            for c in range(len(tables)):
                target[i[c], :, j[c]] += tables[c]
        at = np.arange(n)
        # z² = z: what belongs to one variable stands on the diagonal.
        for a in range(k):
            W[at, a, at, a] += payoffs.unary[:, a]
            sizes[at, a, at, a] += np.abs(payoffs.unary[:, a])
        H = _indicators(n, k)
        F = H.T @ W.reshape(n * k, n * k) @ H
        F = 0.5 * (F + F.T)
        A = np.abs(H)
        S = A.T @ sizes.reshape(n * k, n * k) @ A
        S = 0.5 * (S + S.T)
        # Additions of m tables, then two products with n k terms each, and the halves.
        factor = gamma(2 * len(i) + 4 * n * k + 40)
        tiny = len(F) ** 2 * TINY
        rows = S.sum(axis=1)
        return cls(F, factor * rows + tiny, rows, k, float(rows.sum()))


def _indicators(n: int, k: int) -> Array:
    """H (n k, 1 + n (k − 1)): twice the indicator of each value is its row times x."""
    H = np.zeros((n, k, 1 + n * (k - 1)))
    for i in range(n):
        own = slice(1 + i * (k - 1), 1 + (i + 1) * (k - 1))
        H[i, : k - 1, 0] = 1.0
        H[i, : k - 1, own] = -np.eye(k - 1)
        H[i, k - 1, 0] = 3.0 - k
        H[i, k - 1, own] = 1.0
    return H.reshape(n * k, -1)


def _prove_leaf(
    form: _Form, values: Array, diagonal: Array, b: Array, tau: Array, rho: Array, margin: float
) -> None:
    signs, column = _merged(values, form.k)
    size = len(diagonal)
    P = np.zeros((form.width, size))
    P[np.arange(form.width), column] = signs
    Q = P.T @ form.F @ P
    A = np.abs(P)
    # F's own errors, and of the sums over the fixed part, twice one after the other.
    radius = A.T @ (form.radius + gamma(2 * form.width + 10) * form.sizes)
    K, spent = Q.copy(), A.T @ form.sizes
    for vectors, weights in ((b @ P, tau), (_exclusions(values, form.k, size), rho)):
        K += (vectors * weights[:, None]).T @ vectors
        absolute = np.abs(vectors)
        squares = (absolute * np.abs(weights)[:, None]).T @ absolute.sum(axis=1)
        radius += 2.0 * gamma(2 * len(weights) + 2 * size + 20) * squares
        spent += squares
    radius += 8.0 * gamma(size + 10) * spent + size * (len(tau) + len(rho) + size) * 1e4 * TINY
    if not (np.isfinite(K).all() and np.isfinite(radius).all()):
        raise CertificateError("a leaf's numbers overflow")
    prove_semidefinite(diagonal, -0.5 * (K + K.T), margin * radius, margin)


def _merged(values: Array, k: int) -> tuple[Array, Array]:
    """Of each entry of x, which entry of w it is, and with which sign."""
    fixed = np.repeat(values >= 0, k - 1)
    value = np.repeat(values, k - 1)
    own = np.tile(np.arange(k - 1), len(values))
    signs = np.where(fixed & (value == own), -1.0, 1.0)
    column = np.where(fixed, 0, np.cumsum(~fixed))
    return np.append(1.0, signs), np.append(0, column)


def _exclusions(values: Array, k: int, size: int) -> Array:
    """`−w_0 + w_ia + w_ib` of each free variable and a < b < k − 1, as rows."""
    free = int(np.count_nonzero(values < 0))
    a, b = np.triu_indices(k - 1, 1)
    rows = np.zeros((free, len(a), size))
    rows[:, :, 0] = -1.0
    for i in range(free):
        at = np.arange(len(a))
        rows[i, at, 1 + i * (k - 1) + a] = 1.0
        rows[i, at, 1 + i * (k - 1) + b] = 1.0
    return rows.reshape(free * len(a), size)


def _dense_cuts(certificate: CspProof, width: int) -> Array:
    count = len(certificate.cut_starts) - 1
    rows = np.zeros((count, width))
    at = np.repeat(np.arange(count), np.diff(certificate.cut_starts))
    np.add.at(rows, (at, certificate.cut_entries), certificate.cut_coefficients.astype(np.float64))
    return rows


def _sum(numbers: Array) -> Fraction:
    return sum(map(Fraction, numbers.tolist()), Fraction(0))


def _as_float(bound: Fraction, payoffs: Payoffs) -> float:
    """Rounded up; down to a whole number first where all values are whole numbers."""
    parts = (payoffs.unary, payoffs.tables, np.asarray(payoffs.constant))
    if all(np.all(part == np.floor(part)) for part in parts):
        bound = Fraction(math.floor(bound))
    try:
        number = float(bound)
    except OverflowError:
        raise CertificateError("the bound overflows") from None
    return number if Fraction(number) >= bound else math.nextafter(number, math.inf)
