"""Inequalities that signs satisfy and the relaxation does not: triangles, and larger odd sets.

An integer vector b with an odd sum has `|bᵀx| ≥ 1` at every sign vector x = (u; v). A neuron of
weight ρ has `V = ρ(uuᵀ + vvᵀ)/2` and `Z = ρ(uvᵀ + vuᵀ)/2`, so the average over the exchange of u
and v of `ρ(bᵀx)² ≥ ρ` is linear in (V, Z). For b of s entries ±1, else 0, its diagonal part is s:

    r ρ + ⟨C, (V, Z)⟩ ≥ 0,   r = (s − 1)/2,   C: b_i b_j at each pair of entries

With s = 3 these are the triangle inequalities, with s = 5 the pentagonal ones, and so on. A neuron
of the polynomial activation has one sign vector u, with a last entry of +1, and one matrix
`Q = ρuuᵀ`: the same with b on the entries of u alone, and no mean to take.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

Array = np.ndarray

PATTERNS = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
# Entries of the largest set.
LARGEST = 9
# Inequalities that a round adds at most, and how far violated, relative to ρ, they must be.
ADDED = 3000
VIOLATION = 1e-3
# Larger sets join where a round finds fewer triangles than this.
LARGER_FROM = 300
LARGER_ADDED = 1000
# Steps of a power iteration, and what its estimate is multiplied by to lie above.
POWERS, ABOVE = 20, 1.1
LARGER_VIOLATION = 1e-2


def largest_eigenvalue(apply: Callable[[Array], Array], size: int) -> float:
    """An estimate from above of a positive operator's on vectors (size,), by power iteration.

    1 where there are no vectors.
    """
    if not size:
        return 1.0
    vector, length = np.random.default_rng(0).standard_normal(size), 0.0
    for _ in range(POWERS):
        vector = apply(vector / np.linalg.norm(vector))
        length = float(np.linalg.norm(vector))
    return ABOVE * length


@dataclass(frozen=True, eq=False)
class Cuts:
    """Some inequalities on d × d matrices: vectors b of 3, 5, … entries ±1, int8.

    Of (V, Z) they are (T, 2d), of Q alone (T, d).
    """

    vectors: Array
    d: int

    @cached_property
    def constants(self) -> Array:
        """`r = (s − 1)/2`, (T,)."""
        return (np.count_nonzero(self.vectors, axis=1) - 1.0) / 2.0

    @cached_property
    def _pairs(self) -> tuple[Array, Array]:
        """Where the pairs' entries lie in the matrices, one after the other, and b_i b_j."""
        d, count = self.d, len(self.vectors)
        sizes = np.count_nonzero(self.vectors, axis=1)
        largest = int(sizes.max(initial=3))
        pairs = largest * (largest - 1) // 2
        places, signs = np.zeros((count, pairs), dtype=np.int64), np.zeros((count, pairs))
        for size in range(3, largest + 1, 2):
            rows = np.flatnonzero(sizes == size)
            support = np.nonzero(self.vectors[rows])[1].reshape(-1, size)
            entries = np.take_along_axis(self.vectors[rows], support, axis=1).astype(float)
            for at, (i, j) in enumerate(combinations(range(size), 2)):
                left, right = support[:, i], support[:, j]
                mixed = (left < d) != (right < d)
                places[rows, at] = mixed * d * d + (left % d) * d + right % d
                signs[rows, at] = entries[:, i] * entries[:, j]
        return places, signs

    def __len__(self) -> int:
        return len(self.vectors)

    def apply(self, *matrices: Array) -> Array:
        """`⟨C_t, (V, Z)⟩` or `⟨C_t, Q⟩`, (T,); all (d, d) symmetric."""
        places, signs = self._pairs
        entries = np.concatenate([matrix.ravel() for matrix in matrices])
        return np.einsum("ij,ij->i", signs, entries[places])

    def adjoint(self, tau: Array) -> list[Array]:
        """`Σ_t τ_t C_t` as symmetric matrices, those of V and of Z or that of Q; tau (T,)."""
        places, signs = self._pairs
        weights = (signs * tau[:, None]).ravel()
        sums = np.bincount(
            places.ravel(), weights=weights, minlength=self.vectors.shape[1] * self.d
        )
        return [0.5 * (part + part.T) for part in sums.reshape(-1, self.d, self.d)]

    @cached_property
    def square_norm(self) -> float:
        """An estimate from above of the largest eigenvalue of C Cᵀ, by power iteration."""
        return largest_eigenvalue(lambda tau: self.apply(*self.adjoint(tau)), len(self))

    def kept(self, chosen: Array) -> "Cuts":
        """Those of a mask or of indices."""
        return Cuts(self.vectors[chosen], self.d)

    def joined(self, other: "Cuts") -> "Cuts":
        """These, then those of other that are not among these, each once."""
        known = set(map(bytes, self.vectors))
        fresh = []
        for at, row in enumerate(map(bytes, other.vectors)):
            if row not in known:
                known.add(row)
                fresh.append(at)
        return Cuts(np.vstack([self.vectors, other.vectors[fresh]]), self.d)


def none(d: int, matrices: int) -> Cuts:
    """No inequalities, on so many matrices."""
    return Cuts(np.zeros((0, matrices * d), dtype=np.int8), d)


def triangles(matrices: tuple[Array, ...], rho: float, most: int, least: float) -> Cuts:
    """The `most` triangles that (V, Z), or (Q,), violates most, by more than `least · ρ` each.

    All (d, d) symmetric, rho > 0. All of the some 2 d³ are looked at: up to the exchange of u and v
    two entries i < j are of u, and the third is a later one of u or any of v.
    """
    V, d = matrices[0], len(matrices[0])
    width = len(matrices) * d
    columns = np.arange(d)
    parts: list[Array] = []
    values: list[Array] = []
    for i in range(d - 1):
        others = np.arange(i + 1, d)
        edge = V[i, others][:, None]
        for start, B in zip((0, d), matrices, strict=False):
            allowed = columns > others[:, None] if start == 0 else np.ones((len(others), d), bool)
            for s1, s2, s3 in PATTERNS:
                slack = rho + s1 * edge + s2 * B[i] + s3 * B[others]
                at, k = np.nonzero((slack < -least * rho) & allowed)
                vectors = np.zeros((len(k), width), dtype=np.int8)
                rows = np.arange(len(k))
                vectors[rows, i] = 1
                vectors[rows, others[at]] = s1
                vectors[rows, start + k] = s2
                parts.append(vectors)
                values.append(slack[at, k])
                if sum(map(len, parts)) > 20 * most:
                    parts, values = [_worst(parts, values, most)], [_lowest(values, most)]
    return Cuts(_worst(parts, values, most), d) if parts else none(d, len(matrices))


def _worst(parts: list[Array], values: list[Array], most: int) -> Array:
    return np.vstack(parts)[np.argsort(np.concatenate(values), kind="stable")[:most]]


def _lowest(values: list[Array], most: int) -> Array:
    return np.sort(np.concatenate(values), kind="stable")[:most]


def larger_sets(matrices: tuple[Array, ...], rho: float, bases: Cuts, least: float) -> Cuts:
    """For each set of `bases` the best two further entries, where that violates.

    Returns those violated by more than `least · ρ`, the most violated first. Not all sets are
    looked at: those that matter lie about smaller ones that hold with equality.
    """
    d, exchanged = len(matrices[0]), len(matrices) == 2
    Q = np.block([list(matrices), list(matrices[::-1])]) if exchanged else matrices[0]
    left, right = np.triu_indices(len(Q), 1)
    pairs = Q[left, right]
    parts, values = [], []
    for b, constant in zip(bases.vectors, bases.constants, strict=True):
        if np.count_nonzero(b) + 2 > LARGEST:
            continue
        t = Q @ b
        base = 0.5 * (float(b @ t) - np.count_nonzero(b) * rho)
        taken = (b != 0)[left] | (b != 0)[right]
        # Two entries with signs s: s_i t_i + s_j t_j + s_i s_j Q_ij, the signs by their product.
        for product in (1, -1):
            table = product * pairs - np.abs(t[left] + product * t[right])
            table[taken] = np.inf
            at = int(np.argmin(table))
            slack = (constant + 1.0) * rho + base + table[at]
            if not slack < -least * rho:
                continue
            vector = b.copy()
            vector[left[at]] = -1 if t[left[at]] + product * t[right[at]] > 0 else 1
            vector[right[at]] = product * vector[left[at]]
            parts.append(_canonical(vector, exchanged))
            values.append(slack)
    if not parts:
        return none(d, len(matrices))
    return Cuts(np.array(parts, dtype=np.int8)[np.argsort(values, kind="stable")], d)


def _canonical(b: Array, exchanged: bool) -> Array:
    """One of ±b, and of the two orders of u and v."""
    d = len(b) // 2
    orders = (b, np.concatenate([b[d:], b[:d]])) if exchanged else (b,)
    return np.array(max(tuple(s * x) for x in orders for s in (1, -1)), dtype=np.int8)


def exchanged(
    matrices: tuple[Array, ...], rho: float, cuts: Cuts, tau: Array, threshold: float
) -> tuple[Cuts, Array]:
    """A round's inequalities and multipliers: those above a threshold, and the most violated."""
    active = tau > threshold
    kept = cuts.kept(active)
    longer = kept.joined(triangles(matrices, rho, ADDED, VIOLATION))
    if len(longer) - len(kept) < LARGER_FROM:
        found = larger_sets(matrices, rho, kept, LARGER_VIOLATION)
        longer = longer.joined(found.kept(np.arange(min(len(found), LARGER_ADDED))))
    return longer, np.concatenate([tau[active], np.zeros(len(longer) - len(kept))])
