"""Exact pricing: `max uᵀMv = max_u ‖Mu‖₁` over all sign vectors, with a proven upper bound.

u = (head, tail), halved by the symmetry u ~ −u (the last entry is +1). A table holds `M u` of all
tails in 16-bit integers; heads follow a Gray code whose sums are exact 64-bit integers, so nothing
drifts and any range of heads can be scanned alone. A step adds the head's sums to the table's, one
tail in each SIMD lane: about two seconds for 2^30 vectors on one core.

The integers only sort out. With M scaled by s and two roundings of at most ½ a row, `s ‖Mu‖₁` and
the integer sum differ by less than d + 1. So a vector whose integer sum is below
`s · threshold − (d + 1)` is proven to lie below the threshold; the others are evaluated in floats.
"""

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError
from qnn.pricing.kernels import decode, scan

Array = np.ndarray

# Entries of u that the table runs over: 2^9 columns of 16 bits and 32 rows fill the first cache.
TAIL_BITS = 9
# Fraction bits of the heads' sums: their own rounding stays below 1e-6 units in the last place.
FRACTION = 32
# Rows are handled eight at a time.
ROWS = 8
# Heads that are scanned at once: some milliseconds.
CHUNK = 4096
# Vectors are counted in 64-bit integers, and more would take days.
LARGEST = 48


@dataclass(frozen=True, eq=False)
class Enumeration:
    """The largest `vᵀMu` and what it proves.

    U, V (d, k): the k best u, best first, one of each ±u, with their `v = sign(Mu)`; values (k,)
    as floats. `maximum` is values[0], `error` what rounding and the given distance of M can change
    it by. `upper_bound` is proven for every u, v and every matrix within the given distance of M;
    where the search was cut short (`complete` is False) it is the trivial one, `Σ|M_ij|`.
    """

    U: Array
    V: Array
    values: Array
    error: float
    upper_bound: float
    complete: bool

    @property
    def maximum(self) -> float:
        """The largest value found; the true maximum of M, but for rounding, where complete."""
        return float(self.values[0])


def count_heads(d: int) -> int:
    """The number of heads of an enumeration over d columns: what `Scan.range` splits."""
    return 1 << max(d - 1 - TAIL_BITS, 0)


def enumerate_signs(
    M: Array,
    distance: float = 0.0,
    floor: float = np.inf,
    keep: int = 1,
    threads: int | None = None,
    deadline: float | None = None,
) -> Enumeration:
    """The exact maximum of `vᵀMu` over signs u, v, and the `keep` best u of those above `floor`.

    Parameters
    ----------
    M : (d, d) matrix, symmetric or not; time grows as 2^d.
    distance : bound of `Σ_ij |M'_ij − M_ij|` for the matrices M' that the proof must cover (see
        `forming_error`).
    floor, keep : of the vectors with `‖Mu‖₁ ≥ floor` the `keep` best are returned, all where they
        are fewer; the maximum always. The default returns the maximum alone.
    threads : None for OMP_NUM_THREADS, or one a core. The result is the same for any number.
    deadline : `time.monotonic` after which no more is scanned.

    Raises InputError where M is not finite or has more columns than can be enumerated.
    """
    plan = Scan(M)
    heads = count_heads(plan.d)
    chunks = (range(at, min(at + CHUNK, heads)) for at in range(0, heads, CHUNK))
    best = _Best(plan, max(1, keep), floor)
    complete = True

    def work(chunk: range) -> None:
        best.take(*plan.range(chunk, floor, best.keep, best.largest, best.least))

    if threads == 1 or heads <= CHUNK:
        for chunk in chunks:
            if deadline is not None and time.monotonic() > deadline:
                complete = False
                break
            work(chunk)
    else:
        workers = threads or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool:
            running: list[Future[None]] = []
            for chunk in chunks:
                if deadline is not None and time.monotonic() > deadline:
                    complete = False
                    break
                running.append(pool.submit(work, chunk))
                if len(running) >= 2 * workers:
                    running.pop(0).result()
            for future in running:
                future.result()
    return best.result(distance, complete)


def forming_error(X: Array, nu: Array) -> float:
    """A bound of `Σ_ij |fl(M)_ij − M_ij|` for `M = Xᵀ diag(ν) X`, whatever the order of the sums.

    Each entry is a sum of n products of three factors, so `γ_{n+2} (|X|ᵀ diag|ν| |X|)_ij` bounds
    its error (Higham, Accuracy and Stability of Numerical Algorithms, 2002, §3.1), plus underflow.
    The double sum is `Σ_i |ν_i| ‖x_i‖₁²`, itself rounded: hence twice the count.
    """
    n, d = X.shape
    rows = np.abs(X).sum(axis=1)
    size = float(np.abs(nu) @ rows**2)
    tiny = float(np.finfo(np.float64).tiny)
    largest = 1.0 + float(np.abs(X).max(initial=0.0)) ** 2
    return _gamma(2 * n + 4 * d + 20) * size + d * d * (n + 1.0) * tiny * largest


class Scan:
    """M as integers, ready to scan any range of heads: the unit that threads or tasks share."""

    def __init__(self, M: Array) -> None:
        self.M = np.ascontiguousarray(M, dtype=np.float64)
        d = self.d = len(self.M)
        if self.M.shape != (d, d) or d == 0:
            raise InputError(f"M must be a square matrix (got shape {self.M.shape})")
        if d > LARGEST:
            raise InputError(
                f"{d} columns are too many to enumerate 2^{d - 1} sign vectors: use at most "
                f"{LARGEST}, or another way to a bound"
            )
        with np.errstate(over="ignore"):
            rows = np.abs(self.M).sum(axis=1)
            self.size = float(rows.sum())
        if not np.isfinite(self.size):
            raise InputError("M must be finite and its sum must not overflow")
        self.tails = min(TAIL_BITS, d - 1)
        self.heads = d - 1 - self.tails
        # Integer sums of a vector stay within 16 bits without sign, those of a row with sign.
        self.scale = 0.0
        if self.size > 1e-280:
            self.scale = min((65534.0 - 2 * d) / self.size, 32764.0 / float(rows.max()))
        self._make_table()

    def _make_table(self) -> None:
        d, tails = self.d, self.tails
        height = -(-d // ROWS) * ROWS
        fixed = np.zeros((d, height), dtype=np.int64)
        fixed[:, :d] = np.rint(np.ldexp(self.M.T * self.scale, FRACTION)).astype(np.int64)
        signs = 1 - 2 * ((np.arange(1 << tails)[:, None] >> np.arange(tails)) & 1)
        sums = signs @ fixed[self.heads : d - 1] + fixed[d - 1]
        half = 1 << (FRACTION - 1)
        self.table = np.ascontiguousarray(((sums + half) >> FRACTION).T.astype(np.int16))
        self.fixed = np.ascontiguousarray(fixed[: self.heads])

    def range(
        self, heads: range, floor: float, keep: int, largest: float, least: float
    ) -> tuple[Array, Array]:
        """Values and positions of the vectors of these heads that may be among the best.

        `largest`: the largest value known so far, −inf for none; `least`: the value that `keep`
        known ones reach, −inf for none. What is not returned is proven not to be above
        `min(largest, max(floor, least))` as it is after this scan.
        """
        capacity = 2 * keep + 64
        values, positions = np.empty(capacity), np.empty(capacity, dtype=np.int64)
        if self.scale == 0.0:
            return np.zeros(1), np.zeros(1, dtype=np.int64)
        count = scan(
            heads.start,
            heads.stop,
            self.fixed,
            self.table,
            self.M,
            self.scale,
            floor,
            keep,
            largest,
            least,
            values,
            positions,
        )
        return values[:count], positions[:count]

    def vectors(self, positions: Array) -> Array:
        """The sign vectors u at these positions, (d, k) floats."""
        U = np.ones((self.d, len(positions)))
        for column, position in zip(U.T, positions, strict=True):
            decode(position, self.tails, self.heads, column)
        return U


class _Best:
    """The best vectors over all ranges; a thread adds to it under the interpreter's lock."""

    def __init__(self, scan: Scan, keep: int, floor: float) -> None:
        self.scan, self.keep, self.floor = scan, keep, floor
        self.parts: list[tuple[Array, Array]] = []
        self.largest = self.least = -np.inf

    def take(self, values: Array, positions: Array) -> None:
        """Add what a range returned."""
        if len(values) == 0:
            return
        self.parts.append((values, positions))
        self.largest = max(self.largest, float(values.max()))
        if len(values) >= self.keep:
            self.least = max(self.least, float(np.partition(values, -self.keep)[-self.keep]))

    def result(self, distance: float, complete: bool) -> Enumeration:
        """All ranges together, in an order that does not depend on who scanned what when."""
        if self.parts:
            values = np.concatenate([part[0] for part in self.parts])
            positions = np.concatenate([part[1] for part in self.parts])
        else:
            positions = np.zeros(1, dtype=np.int64)
            values = np.abs(self.scan.M @ self.scan.vectors(positions)).sum(axis=0)
        order = np.lexsort((positions, -values))
        wanted = values[order] >= self.floor
        wanted[0] = True
        order = order[wanted][: self.keep]
        U = self.scan.vectors(positions[order])
        d, size = self.scan.d, self.scan.size
        rounding = _gamma(4 * d + 20) * size + d * d * float(np.finfo(np.float64).tiny)
        bound = size
        if complete and self.scan.scale > 0.0:
            bound = min(size, float(values[order[0]]))
        return Enumeration(
            U=U,
            V=np.where(self.scan.M @ U < 0.0, -1.0, 1.0),
            values=values[order],
            error=rounding + distance,
            upper_bound=(bound + rounding + distance) * (1.0 + 2.0**-50),
            complete=complete,
        )


def _gamma(k: int) -> float:
    return k * 2.0**-53 / (1.0 - k * 2.0**-53)
