"""How a column's values are distributed over blocks: exactly while they are few, else a sketch.

The sketch is the t-digest (T. Dunning and O. Ertl, Computing extremely accurate quantiles using
t-digests, 2019) of Apache DataSketches. It draws nothing by chance, so that the fixed tree over
blocks fixes its bits; KLL sketches of the same library take random bits from a clock. With the size
chosen here, ranks were off by at most 4e-4 on normal values.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from qnn.errors import InputError

Array = np.ndarray

#: up to so many distinct values are counted
FEW = 1024
# Of more, so many are remembered that come up most often.
_OFTEN = 128
# The digest's compression, and how many points stand for it.
_SIZE, _POINTS = 4000, 4096
# The digest's means of equal values differ by rounding: neighbours this near are one value.
_EQUAL = 1e-12


@dataclass(frozen=True, eq=False)
class Spread:
    """Distinct ``values`` and ``counts`` (k,), ascending: all of them, or the frequent ones.

    ``digest``: a t-digest of all rows, which counts where not all values are listed.
    """

    values: Array
    counts: Array
    listed: bool
    digest: bytes

    @classmethod
    def of(cls, values: Array) -> Spread:
        """Of finite values (n,), n may be 0."""
        digest = _new()
        digest.update(values)
        return cls(*_kept(*np.unique(values, return_counts=True), True), digest.serialize())

    def __add__(self, other: Spread) -> Spread:
        """Of the values of both."""
        digest = _read(self.digest)
        digest.merge(_read(other.digest))
        distinct, place = np.unique(np.append(self.values, other.values), return_inverse=True)
        counts = np.zeros(len(distinct), dtype=np.int64)
        np.add.at(counts, place, np.append(self.counts, other.counts))
        kept = _kept(distinct, counts, self.listed and other.listed)
        return Spread(*kept, digest.serialize())

    @property
    def distinct(self) -> float:
        """How many different values there are; infinity for more than are counted."""
        return len(self.values) if self.listed else np.inf

    def points(self) -> tuple[Array, Array]:
        """Ascending values and how many rows each stands for, (k,) both.

        Of a digest: values at even normal scores, from half a row to half a row before the last.
        """
        if self.listed:
            return self.values, self.counts.astype(np.float64)
        digest = _read(self.digest)
        n = float(digest.get_total_weight())
        end = float(ndtri(0.5 / n))
        ranks = ndtr(np.linspace(end, -end, _POINTS))
        cuts = np.concatenate([[0.0], 0.5 * (ranks[1:] + ranks[:-1]), [1.0]])
        found = np.maximum.accumulate([digest.get_quantile(rank) for rank in ranks])
        points, place = np.unique(self._without_rounding(found), return_inverse=True)
        return points, np.bincount(place, weights=n * np.diff(cuts))

    def _without_rounding(self, found: Array) -> Array:
        """Quantiles that differ by rounding from a frequent value are that value."""
        if not len(self.values):
            return found
        above = np.searchsorted(self.values, found).clip(max=len(self.values) - 1)
        for place in (above, (above - 1).clip(min=0)):
            near = self.values[place]
            found = np.where(np.abs(found - near) <= _EQUAL * np.abs(near), near, found)
        return found


def _kept(values: Array, counts: Array, listed: bool) -> tuple[Array, Array, bool]:
    """All values while they are few; then the most frequent of those that come up twice."""
    if listed and len(values) <= FEW:
        return values, counts, True
    order = np.lexsort((values, -counts))[:_OFTEN]
    chosen = np.sort(order[counts[order] > 1])
    return values[chosen], counts[chosen], False


def require_sketches(why: str) -> None:
    """Raise InputError where the package for sketches is not installed."""
    if find_spec("datasketches") is None:
        raise InputError(
            f"{why} needs quantiles over blocks, and these the package datasketches: "
            "pip install 'qnn-sdp[quantiles]'"
        )


def _new() -> Any:
    from datasketches import tdigest_double

    return tdigest_double(_SIZE)


def _read(content: bytes) -> Any:
    from datasketches import tdigest_double

    return tdigest_double.deserialize(content)
