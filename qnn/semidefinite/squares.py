"""Maxima over signs bounded by squares: `max ⟨C, X⟩` over X ⪰ 0 with `vᵀXv = 1` and `bᵀXb ≥ 1`.

C (D, D) symmetric. Each statement is a vector: one whose product with every feasible sign vector
is ±1 (an equality: first the D unit vectors, then what else holds), or an odd whole number (an
inequality, a cut: triangles and other odd sets). For all multipliers y of the equalities and τ ≥ 0
of the cuts

    C − Σ y vvᵀ + Σ τ bbᵀ = K,    max ⟨C, X⟩ ≤ Σy − Στ + trace · λ_max(K)

where the trace of X is known. The multipliers minimize the same with `‖K₊‖² / 2α` in the place of
the last term, α falling from round to round, by a limited-memory quasi-Newton method with bounds
(compare Krislock, Malick, Roupin, BiqCrunch, ACM TOMS 43, 2017); `X = K₊/α` is the primal point.
Cuts come in rounds, from whoever knows which are violated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from qnn.numerics.compiled import compiled
from qnn.semidefinite.positive import LARGE, positive_factor
from qnn.semidefinite.projected import Evaluated, minimize_projected

Array = np.ndarray

# Two rounds that gain less than this, relative, are the last.
STALLED = 3e-5
# A step that gains less, relative, ends a round.
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Vectors:
    """Sparse rows: those of row c are `entries[starts[c]:starts[c + 1]]`, with `coefficients`.

    starts (m + 1,) int64, entries int32, coefficients float64.
    """

    starts: Array
    entries: Array
    coefficients: Array

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def none(cls) -> Vectors:
        """No rows."""
        return cls(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0))

    @classmethod
    def units(cls, size: int) -> Vectors:
        """The unit vectors."""
        return cls(np.arange(size + 1), np.arange(size, dtype=np.int32), np.ones(size))

    @classmethod
    def of_rows(cls, entries: Array, coefficients: Array) -> Vectors:
        """Rows of one length, (m, s) each."""
        count, width = entries.shape
        starts = np.arange(count + 1, dtype=np.int64) * width
        return cls(starts, entries.ravel().astype(np.int32), coefficients.ravel().astype(float))

    def joined(self, other: Vectors) -> Vectors:
        """These rows, then the other's."""
        return Vectors(
            np.concatenate([self.starts, other.starts[1:] + self.starts[-1]]),
            np.concatenate([self.entries, other.entries]),
            np.concatenate([self.coefficients, other.coefficients]),
        )

    def chosen(self, rows: Array) -> Vectors:
        """The rows with these numbers, in their order."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Vectors(starts, self.entries[at], self.coefficients[at])

    def dense(self, size: int) -> Array:
        """As a matrix (m, size)."""
        rows = np.zeros((len(self), size))
        at = np.repeat(np.arange(len(self)), np.diff(self.starts))
        np.add.at(rows, (at, self.entries), self.coefficients)
        return rows

    def add_squares(self, weights: Array, K: Array) -> None:
        """Add `Σ weights vvᵀ` to K."""
        _add_squares(self.starts, self.entries, self.coefficients, weights, K)

    def squares(self, X: Array) -> Array:
        """`vᵀXv` of each row."""
        out = np.empty(len(self))
        _squares(self.starts, self.entries, self.coefficients, X, out)
        return out


@dataclass(frozen=True, eq=False)
class Multipliers:
    """A dual point: `equal` of the equalities, `cuts` with their `tau` ≥ 0."""

    equal: Array
    cuts: Vectors
    tau: Array


@dataclass(frozen=True, eq=False)
class Bounded:
    """What is known of a maximum: the `bound` of its multipliers, and a primal point X (D, D)."""

    bound: float
    multipliers: Multipliers
    X: Array
    evaluations: int


@dataclass(frozen=True)
class Effort:
    """When to end: `rounds` of cuts; `steps` of the quasi-Newton method in each.

    alphas : of the first rounds, relative to the size of C; the last one stays.
    least : a cut is violated where its square is smaller than 1 by more than this.
    most : cuts that may join in a round, as a multiple of D.
    reach : it ends where the gain of this many rounds like the last ones misses the target.
    """

    rounds: int = 60
    steps: int = 50
    alphas: tuple[float, ...] = (1e-1, 5e-2, 2e-2, 1e-2, 5e-3, 2e-3, 1e-3)
    least: float = 0.02
    most: float = 10.0
    reach: float = 12.0


# Violated cuts of a primal point, most violated first, at most so many.
Separate = Callable[[Array, float, int], Vectors]


def bound_maximum(
    C: Array,
    equalities: Vectors,
    trace: float,
    start: Multipliers | None = None,
    separate: Separate | None = None,
    target: float = -np.inf,
    effort: Effort | None = None,
    over: Callable[[], bool] | None = None,
    basis: Array | None = None,
) -> Bounded:
    """Bound `max ⟨C, X⟩` from above; ends early at the target, or where it is out of reach.

    C (D, D) symmetric. start: multipliers to begin at. separate: gives violated cuts; without it
    the cuts stay those of `start`. over: whether time is. basis: T (D, D), if K is made
    semidefinite as `TᵀKT`. trace: of `T⁻¹XT⁻ᵀ` for every feasible X.
    """
    bounding = _Bounding(C, equalities, trace, start, target, effort or Effort(), basis)
    return bounding.run(separate, over or (lambda: False))


class _Bounding:
    def __init__(
        self,
        C: Array,
        equalities: Vectors,
        trace: float,
        start: Multipliers | None,
        target: float,
        effort: Effort,
        basis: Array | None,
    ) -> None:
        self.basis = basis
        # Constants stand on the diagonal: they say nothing of the size of the rest.
        inside = C if basis is None else basis.T @ C @ basis
        rest = inside - np.diag(inside.diagonal())
        self.scale = float(np.linalg.norm(rest)) / len(C) or 1.0
        self.C = C / self.scale
        self.equalities, self.trace, self.effort = equalities, trace, effort
        self.target = target / self.scale
        if start is None:
            equal = np.zeros(len(equalities))
            heavy = np.abs(self.C).sum(axis=1) - np.abs(self.C.diagonal())
            equal[: len(C)] = self.C.diagonal() + 0.5 * heavy
            start = Multipliers(equal, Vectors.none(), np.zeros(0))
            self.first_alpha = 0
        else:
            start = replace(start, equal=start.equal / self.scale, tau=start.tau / self.scale)
            self.first_alpha = 3
        self.point = start
        self.best = np.inf, start, np.eye(len(C))
        self.alpha = effort.alphas[0]
        self.evaluations = 0
        self.latest = np.empty(0)

    def run(self, separate: Separate | None, over: Callable[[], bool]) -> Bounded:
        effort = self.effort
        history: list[float] = []
        level = self.first_alpha
        for _ in range(effort.rounds):
            self.alpha = effort.alphas[min(level, len(effort.alphas) - 1)]
            self._minimize()
            if self.best[0] <= self.target or over():
                break
            history.append(self.best[0])
            found = 0
            if separate is not None:
                found = self._add_cuts(separate)
            last = level >= len(effort.alphas) - 1
            if self._hopeless(history, last):
                break
            if not last and (found < 0.5 * len(self.C) or len(history) % 2 == 0):
                level += 1
        bound, multipliers, X = self.best
        multipliers = replace(
            multipliers,
            equal=multipliers.equal * self.scale,
            tau=multipliers.tau * self.scale,
        )
        return Bounded(bound * self.scale, multipliers, X, self.evaluations)

    def _hopeless(self, history: list[float], last: bool) -> bool:
        """Whether the rounds to come cannot be expected to reach the target."""
        if last and len(history) > 2 and history[-3] - history[-1] < STALLED * abs(history[-1]):
            return True
        if len(history) < 4 or not np.isfinite(self.target):
            return False
        gain = (history[-3] - history[-1]) / 2.0
        return gain * self.effort.reach < history[-1] - self.target

    def _minimize(self) -> None:
        p = self.point
        start = np.concatenate([p.equal, p.tau])
        scale, head = 0.1 * self.alpha, len(p.equal)
        last = minimize_projected(self._evaluated, start, head, self.effort.steps, scale, TOLERANCE)
        if last.x is not self.latest:
            self._evaluated(last.x)
        self.point = self._at(last.x)

    def _at(self, z: Array) -> Multipliers:
        head = len(self.point.equal)
        return replace(self.point, equal=z[:head].copy(), tau=z[head:].copy())

    def _evaluated(self, z: Array) -> Evaluated:
        """The smoothed dual at z = (y, τ); its bound and primal point are kept if the best."""
        head = len(self.point.equal)
        y, tau = z[:head], z[head:]
        K = self.C.copy()
        self.equalities.add_squares(-y, K)
        self.point.cuts.add_squares(tau, K)
        T = self.basis
        largest, squared, F = _positive_part(K if T is None else T.T @ K @ T)
        self.evaluations += 1
        part = F if T is None else T @ F
        X = part @ part.T / self.alpha
        linear = y.sum() - tau.sum()
        bound = linear + self.trace * largest
        if bound < self.best[0]:
            self.best = bound, self._at(z), X
        self.latest, self.X = z, X
        slope = np.concatenate([1.0 - self.equalities.squares(X), self.point.cuts.squares(X) - 1.0])
        value = linear + squared / (2.0 * self.alpha)
        return Evaluated(z, value, slope, bound <= self.target)

    def _add_cuts(self, separate: Separate) -> int:
        p = self.point
        on = np.flatnonzero((p.tau > 1e-6) | (p.cuts.squares(self.X) < 1.0 + 1e-3))
        kept = p.cuts.chosen(on)
        new = separate(self.X, self.effort.least, int(self.effort.most * len(self.C)))
        fresh = _fresh(kept, new)
        new = new.chosen(fresh)
        self.point = Multipliers(
            p.equal, kept.joined(new), np.concatenate([p.tau[on], np.zeros(len(new))])
        )
        return len(new)


def _positive_part(K: Array) -> tuple[float, float, Array]:
    """The largest eigenvalue of K (D, D), `‖K₊‖²`, and F (D, r) with `FFᵀ = K₊`."""
    factor = positive_factor(K) if len(K) < LARGE else None
    if factor is not None and factor.shape[1]:
        values = np.einsum("ij,ij->j", factor, factor)
        return float(values.max()), float(values @ values), factor
    values, Q = np.linalg.eigh(K)
    positive = np.maximum(values, 0.0)
    first = int(np.searchsorted(values, 0.0))
    return float(values[-1]), float(positive @ positive), Q[:, first:] * np.sqrt(positive[first:])


def _fresh(known: Vectors, new: Vectors) -> Array:
    """The numbers of the new rows that are not among the known, nor earlier among the new."""
    seen = set(keys_of(known))
    rows = []
    for row, key in enumerate(keys_of(new)):
        if key not in seen:
            seen.add(key)
            rows.append(row)
    return np.array(rows, dtype=np.int64)


def keys_of(vectors: Vectors) -> list[bytes]:
    """Of each row, bytes that are equal for equal rows."""
    pairs = np.empty((len(vectors.entries), 2), dtype=np.float64)
    pairs[:, 0], pairs[:, 1] = vectors.entries, vectors.coefficients
    data, starts = pairs.tobytes(), (vectors.starts * 16).tolist()
    return [data[a:b] for a, b in pairwise(starts)]


@compiled(nogil=True)
def _add_squares(
    starts: np.ndarray,
    entries: np.ndarray,
    coefficients: np.ndarray,
    weights: np.ndarray,
    K: np.ndarray,
) -> None:
    for c in range(len(starts) - 1):
        weight = weights[c]
        if weight != 0.0:
            for p in range(starts[c], starts[c + 1]):
                scaled = weight * coefficients[p]
                for q in range(starts[c], starts[c + 1]):
                    K[entries[p], entries[q]] += scaled * coefficients[q]


@compiled(nogil=True)
def _squares(
    starts: np.ndarray,
    entries: np.ndarray,
    coefficients: np.ndarray,
    X: np.ndarray,
    out: np.ndarray,
) -> None:
    for c in range(len(starts) - 1):
        total = 0.0
        for p in range(starts[c], starts[c + 1]):
            for q in range(starts[c], p):
                total += 2.0 * coefficients[p] * coefficients[q] * X[entries[p], entries[q]]
            total += coefficients[p] * coefficients[p] * X[entries[p], entries[p]]
        out[c] = total
