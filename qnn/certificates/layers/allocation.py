"""The checker of a choice of bits: two lower bounds, in rationals and whole numbers, no solver.

One choice k a group g, ``sum size_gk + more <= budget``, least ``sum cost_gk``. ``more`` counts
what a layer takes beyond its weights where its groups differ in kind (`Parts`). For every
multiplier ``lambda >= 0`` no feasible choice costs less than the least priced cost, layer by layer,
less ``lambda budget``: good for many groups. For few, a table over whole sizes gives the optimum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import gcd

import numpy as np

from qnn.errors import CertificateError

Array = np.ndarray

# Operations that the table may take; beyond them sizes are rounded down, which keeps its bound.
_WORK = 200_000_000
_NONE = np.int64(1) << 62


@dataclass(frozen=True, eq=False)
class Parts:
    """What mixing kinds costs in size.

    layer (G,): the layer of each group, from 0, in order; kind (K,): of each option, from 0;
    more (L, 2): of a layer, what each kind beyond its first adds, and what having several does.
    """

    layer: Array
    kind: Array
    more: Array

    def of(self, choice: Array) -> float:
        """What the choice (G,) takes beyond its groups' sizes."""
        total = 0.0
        for layer, (part, mixing) in enumerate(self.more):
            kinds = len(np.unique(self.kind[choice[self.layer == layer]]))
            total += (kinds - 1) * part + (kinds > 1) * mixing
        return float(total)

    def sets(self, layer: int) -> Iterator[tuple[Array, float]]:
        """Each set of options that a layer may use, by their kinds, and what it adds."""
        kinds = np.unique(self.kind)
        part, mixing = self.more[layer]
        for count in range(1, len(kinds) + 1):
            for chosen in combinations(kinds, count):
                options = np.flatnonzero(np.isin(self.kind, chosen))
                yield options, float((count - 1) * part + (count > 1) * mixing)


def lagrangian_bound(
    cost: Array, size: Array, budget: float, multiplier: float, parts: Parts | None = None
) -> Fraction:
    """The exact bound of the multiplier: cost (G, K) and size (G, K) finite.

    Raises CertificateError for numbers or shapes that mean nothing.
    """
    cost, size = _checked(cost, size, np.array([budget, multiplier]), parts)
    if multiplier < 0.0:
        raise CertificateError("a multiplier must not be negative")
    price = Fraction(multiplier)
    priced = [
        [Fraction(c) + price * Fraction(s) for c, s in zip(*pair, strict=True)]
        for pair in zip(cost.tolist(), size.tolist(), strict=True)
    ]
    total = -price * Fraction(budget)
    if parts is None:
        return total + sum(map(min, priced))
    for layer in range(len(parts.more)):
        own = [priced[g] for g in np.flatnonzero(parts.layer == layer)]
        total += min(
            price * Fraction(more) + sum(min(row[k] for k in options) for row in own)
            for options, more in parts.sets(layer)
        )
    return total


def table_bound(cost: Array, size: Array, budget: float, parts: Parts | None = None) -> Fraction:
    """The least cost of any choice, rounded down by less than ``G 2^-59`` of the largest sum.

    Dynamic programming over whole sizes beyond each group's smallest. Where the sizes are many,
    they are rounded down to multiples of a unit: the bound then lies lower, but holds.
    Raises CertificateError for numbers that mean nothing, or where no choice fits.
    """
    cost, size = _checked(cost, size, np.array([budget]), parts)
    if parts is None:
        parts = Parts(np.arange(len(cost)), np.zeros(cost.shape[1], int), np.zeros((len(cost), 2)))
    if cost.min() < 0.0 or size.min() < 0.0 or size.max() >= 2.0**52:
        raise CertificateError("costs and sizes must not be negative")
    least = size.min(axis=1)
    room = int(Fraction(budget) // 1) - sum(int(np.floor(s)) for s in least)
    if room < 0:
        raise CertificateError("no choice fits the budget")
    beyond = np.floor(size).astype(np.int64) - np.floor(least).astype(np.int64)[:, None]
    unit = _unit(beyond, parts, room)
    whole, scale = _whole_costs(cost)
    # No choice is larger than that.
    most = int(beyond.max(axis=1).sum() + (parts.more @ [beyond.shape[1], 1.0]).sum())
    table = np.zeros(min(room, most) // unit + 1, np.int64)
    for layer in range(len(parts.more)):
        own = np.flatnonzero(parts.layer == layer)
        found = np.full_like(table, _NONE)
        for options, more in parts.sets(layer):
            part = _moved(table, int(more) // unit)
            for g in own:
                moved = [_moved(part, int(beyond[g, k]) // unit) + whole[g, k] for k in options]
                part = np.minimum(np.minimum.reduce(moved), _NONE)
            found = np.minimum(found, part)
        table = found
    if table[-1] >= _NONE:
        raise CertificateError("no choice fits the budget")
    return int(table[-1]) * scale


def _checked(cost: Array, size: Array, numbers: Array, parts: Parts | None) -> tuple[Array, Array]:
    cost, size = np.asarray(cost, dtype=np.float64), np.asarray(size, dtype=np.float64)
    if cost.ndim != 2 or cost.shape != size.shape or cost.size == 0:
        raise CertificateError("costs and sizes must be tables of one shape")
    if not np.isfinite(np.concatenate([cost.ravel(), size.ravel(), numbers])).all():
        raise CertificateError("a cost, a size, the budget or the multiplier is not allowed")
    if parts is not None:
        _check_parts(parts, cost.shape)
    return cost, size


def _check_parts(parts: Parts, shape: tuple[int, ...]) -> None:
    more = np.asarray(parts.more)
    good = parts.layer.shape == shape[:1] and parts.kind.shape == shape[1:]
    good = good and more.ndim == 2 and more.shape[1] == 2 and len(more) >= 1
    good = good and parts.layer.dtype.kind == "i" and parts.kind.dtype.kind == "i"
    good = good and np.array_equal(np.unique(parts.layer), np.arange(len(more)))
    if not (good and np.isfinite(more).all() and (more >= 0.0).all() and more.max() < 2.0**48):
        raise CertificateError("the layers' parts do not belong to the costs")


def _unit(beyond: Array, parts: Parts, room: int) -> int:
    """The largest whole number that divides all sizes; more where the table would be too long."""
    unit = 0
    for value in np.unique(np.concatenate([beyond.ravel(), parts.more.ravel().astype(np.int64)])):
        unit = gcd(unit, int(value))
    unit = max(unit, 1)
    sets = 2 ** len(np.unique(parts.kind)) - 1
    while beyond.size * sets * (room // unit + 1) > _WORK and room // unit > 0:
        unit *= 2
    return unit


def _whole_costs(cost: Array) -> tuple[Array, Fraction]:
    """Costs rounded down to multiples of a power of two whose sums stay below 2^61."""
    largest = Fraction(0)
    for row in cost.max(axis=1).tolist():
        largest += Fraction(row)
    exponent = 0
    while largest and largest * Fraction(2) ** exponent < 2**59:
        exponent += 1
    while largest * Fraction(2) ** exponent >= 2**60:
        exponent -= 1
    scale = Fraction(2) ** exponent
    rows = [[int(Fraction(c) * scale // 1) for c in row] for row in cost.tolist()]
    return np.array(rows, dtype=np.int64), 1 / scale


def _moved(table: Array, by: int) -> Array:
    """The table with each size larger by that."""
    if by <= 0:
        return table
    moved = np.full_like(table, _NONE)
    moved[by:] = table[: max(len(table) - by, 0)]
    return moved


def verify_choice(
    cost: Array,
    size: Array,
    budget: float,
    choice: Array,
    multiplier: float,
    bound: float,
    parts: Parts | None = None,
) -> float:
    """The cost of the choice (G,), once budget and ``bound`` are proven; else CertificateError."""
    proven = lagrangian_bound(cost, size, budget, multiplier, parts)
    if not np.isfinite(bound):
        raise CertificateError("the bound is not a number")
    if Fraction(bound) > proven:
        proven = max(proven, table_bound(cost, size, budget, parts))
    if Fraction(bound) > proven:
        raise CertificateError(
            f"it states the bound {bound!r}, but only {float(proven)!r} is proven"
        )
    groups = np.arange(len(cost))
    choice = np.asarray(choice)
    in_range = choice.shape == (len(cost),) and choice.dtype.kind == "i"
    if not (in_range and choice.min() >= 0 and choice.max() < cost.shape[1]):
        raise CertificateError("the choice must name one column a group")
    spent = sum(map(Fraction, size[groups, choice].tolist()), Fraction(0))
    spent += Fraction(0 if parts is None else parts.of(choice))
    if spent > Fraction(budget):
        raise CertificateError("the choice exceeds the budget")
    return float(sum(map(Fraction, cost[groups, choice].tolist()), Fraction(0)))
