"""What an enumeration scans: signs by ranges of heads, in integers that prove what they skip.

u = (head, tail) with a last entry of +1. Heads follow a Gray code whose sums are exact integers, so
nothing drifts and any range of heads can be scanned alone; the tails lie in a table, one in each
SIMD lane. The integers only sort out: a vector that they do not prove to be below the threshold is
evaluated in floats.

* `ProductScan`: `‖Mu‖₁`. The table holds `M u` of all tails in 16 bits, and a step adds the head's
  sums to them: about two seconds for 2^30 vectors on one core. With M scaled by s and two roundings
  of at most ½ a row, `s ‖Mu‖₁` and the integer sum differ by less than d + 1.
* `FormScan`: `uᵀMu`. The head's change of one entry adds one row of the table to the sums of all
  tails, 32 bits each, so a vector costs one addition. With k(k−1)/2 entries scaled by s and rounded
  by at most ½, `½ s (uᵀMu − tr M)` and the integer sum differ by less than k²/4.
"""

from abc import ABC, abstractmethod

import numpy as np

from qnn.errors import InputError
from qnn.training.pricing.kernels import decode, scan_forms, scan_products

Array = np.ndarray

# Entries of u that the table runs over: 2^9 columns of 16 bits and 32 rows fill the first cache.
TAIL_BITS = 9
# Fraction bits of the heads' sums: their own rounding stays below 1e-6 units in the last place.
FRACTION = 32
# Rows are handled eight at a time.
ROWS = 8
# Vectors are counted in 64-bit integers, and more would take days.
LARGEST = 48
# Sums below this are as good as zero, and could not be scaled up to integers.
NOTHING = 1e-280


def count_heads(d: int) -> int:
    """The number of heads of an enumeration over d columns: what `Scan.scan` is given ranges of."""
    return 1 << max(d - 1 - TAIL_BITS, 0)


class Scan(ABC):
    """M as integers, ready to scan any range of heads: the unit that threads or tasks share.

    `d` columns are scanned; `size = Σ|M_ij|`; `scale` is 0 where M leaves nothing to scan, and then
    no vector's value is above that of the first by more than `rest`.
    """

    scale: float
    rest: float

    def __init__(self, M: Array) -> None:
        self.M = np.ascontiguousarray(M, dtype=np.float64)
        if self.M.ndim != 2 or len(self.M) == 0 or self.M.shape[0] != self.M.shape[1]:
            raise InputError(f"M must be a square matrix (got shape {self.M.shape})")
        with np.errstate(over="ignore"):
            self.size = float(np.abs(self.M).sum())
        if not np.isfinite(self.size):
            raise InputError("M must be finite and its sum must not overflow")

    def _split(self, d: int) -> None:
        if d > LARGEST:
            raise InputError(
                f"{d} columns are too many to enumerate 2^{d - 1} sign vectors: use at most "
                f"{LARGEST}, or another way to a bound"
            )
        self.d = d
        self.tails = min(TAIL_BITS, d - 1)
        self.heads = d - 1 - self.tails
        self.tail_signs = 1 - 2 * (
            (np.arange(1 << self.tails)[:, None] >> np.arange(self.tails)) & 1
        )

    def scan(
        self, heads: range, floor: float, keep: int, largest: float, least: float
    ) -> tuple[Array, Array]:
        """Values and positions of the vectors of these heads that may be among the best.

        `largest`: the largest value known so far, −inf for none; `least`: the value that `keep`
        known ones reach, −inf for none. What is not returned is proven not to be above
        `min(largest, max(floor, least))` as it is after this scan, but for `rest`.
        """
        if self.scale == 0.0:
            first = np.zeros(1, dtype=np.int64)
            return self.values(self.vectors(first)), first
        capacity = 2 * keep + 64
        values, positions = np.empty(capacity), np.empty(capacity, dtype=np.int64)
        count = self._kernel(heads, (floor, keep, largest, least, values, positions))
        return values[:count], positions[:count]

    def vectors(self, positions: Array) -> Array:
        """The sign vectors u at these positions, (size of M, k) floats."""
        U = np.ones((len(self.M), len(positions)))
        for column, position in zip(U.T, positions, strict=True):
            decode(position, self.tails, self.heads, column)
        return U

    @abstractmethod
    def values(self, U: Array) -> Array:
        """What is maximized, of the columns of U."""

    @abstractmethod
    def partners(self, U: Array) -> Array:
        """The v of each u with `|uᵀMv|` the value."""

    @abstractmethod
    def _kernel(
        self, heads: range, wanted: tuple[float, int, float, float, Array, Array]
    ) -> int: ...


class ProductScan(Scan):
    """`max_v uᵀMv = ‖Mu‖₁`; u and −u are one, so the last entry is +1."""

    def __init__(self, M: Array) -> None:
        super().__init__(M)
        d = len(self.M)
        self._split(d)
        # Integer sums of a vector stay within 16 bits without sign, those of a row with sign.
        self.scale, self.rest = 0.0, self.size
        if self.size > NOTHING:
            rows = float(np.abs(self.M).sum(axis=1).max())
            self.scale = min((65534.0 - 2 * d) / self.size, 32764.0 / rows)
            self.rest = 0.0
        height = -(-d // ROWS) * ROWS
        fixed = np.zeros((d, height), dtype=np.int64)
        fixed[:, :d] = np.rint(np.ldexp(self.M.T * self.scale, FRACTION)).astype(np.int64)
        sums = self.tail_signs @ fixed[self.heads : d - 1] + fixed[d - 1]
        half = 1 << (FRACTION - 1)
        self.table = np.ascontiguousarray(((sums + half) >> FRACTION).T.astype(np.int16))
        self.fixed = np.ascontiguousarray(fixed[: self.heads])

    def values(self, U: Array) -> Array:
        """`‖Mu‖₁`."""
        return np.asarray(np.abs(self.M @ U).sum(axis=0))

    def partners(self, U: Array) -> Array:
        """`sign(Mu)`."""
        return np.where(self.M @ U < 0.0, -1.0, 1.0)

    def _kernel(self, heads: range, wanted: tuple[float, int, float, float, Array, Array]) -> int:
        return scan_products(
            heads.start, heads.stop, self.fixed, self.table, self.M, self.scale, *wanted
        )


class FormScan(Scan):
    """`|uᵀMu|` of a symmetric M, the last entry of u being +1.

    Where the last row has nothing beside the diagonal the other entries matter up to a common sign
    only: the last of those is +1 as well, and half of the vectors are scanned.
    """

    def __init__(self, M: Array) -> None:
        super().__init__(M)
        form = self.M
        if len(form) > 1 and not form[-1, :-1].any():
            corner, form = float(form[-1, -1]), form[:-1, :-1].copy()
            form[-1, -1] += corner
        d = len(form)
        self._split(d)
        self.form = np.ascontiguousarray(form)
        upper = np.triu(form, 1)
        pairs = float(np.abs(upper).sum())
        # Integer sums, and twice a row's, stay within 32 bits.
        self.scale, self.rest = 0.0, 2.0 * pairs
        if pairs > NOTHING:
            self.scale, self.rest = (2.0**30 - d * d) / pairs, 0.0
        integers = np.rint(upper * self.scale).astype(np.int64)
        integers += integers.T
        h = self.heads
        signs = np.column_stack([self.tail_signs, np.ones(len(self.tail_signs), dtype=np.int64)])
        inner = np.einsum("ti,ij,tj->t", signs, integers[h:, h:], signs) // 2
        self.base = inner.astype(np.int32)
        self.rows = np.ascontiguousarray((2 * integers[:h, h:] @ signs.T).astype(np.int32))
        self.integers = np.ascontiguousarray(integers[:h, :h])

    def values(self, U: Array) -> Array:
        """`|uᵀMu|`."""
        return np.asarray(np.abs(np.einsum("ij,ij->j", U, self.M @ U)))

    def partners(self, U: Array) -> Array:
        """U itself."""
        return U

    def _kernel(self, heads: range, wanted: tuple[float, int, float, float, Array, Array]) -> int:
        return scan_forms(
            heads.start,
            heads.stop,
            self.integers,
            self.rows,
            self.base,
            self.form,
            self.scale,
            *wanted,
        )
