"""A leaf's proof in fewer and shorter numbers.

Its smallest multipliers are dropped, the others found anew without them and then rounded to few
bits, as long as the bound allows it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qnn.moments.csp.cuts import CutPool, merged
from qnn.moments.csp.forms import Leaf, SignForm
from qnn.moments.csp.leaves import Node, Sealed, seal
from qnn.semidefinite.squares import Effort, Multipliers, bound_maximum

Array = np.ndarray

# Shares of a leaf's cuts that are kept, one after the other, until the bound is lost.
_SHARES = (0.4, 0.3, 0.24, 0.2, 0.16, 0.13)
# Bits of a multiplier, the largest of a leaf having all: a byte of the file, two, and float32.
_BITS = (7, 14)
_WHOLE = 24
_EFFORT = Effort(rounds=5, alphas=(1e-3,))
# What is asked for below the limit, relative, so that there is room to round.
_ROOM = 1e-4


def compacted(
    form: SignForm, pool: CutPool, node: Node, limit: float, over: Callable[[], bool]
) -> Sealed:
    """The numbers of a leaf, its cuts in their order in the pool, with a bound up to the limit.

    limit: of the form, at least the leaf's own bound. With all cuts, all bits that a file can hold
    and so a bound that differs from the leaf's by roundings, where it cannot be had shorter.
    """
    leaf = form.leaf(node.values)
    start = _multipliers(leaf, pool, node.sealed)
    numbers = node.sealed.cuts
    found = None if over() else _rounded(leaf, start, numbers, limit, _BITS)
    dual = start
    for share in _SHARES:
        if over() or not len(numbers):
            break
        count = int(share * len(start.tau))
        on = np.sort(np.argsort(-dual.tau, kind="stable")[:count])
        dual = Multipliers(dual.equal, dual.cuts.chosen(on), dual.tau[on])
        numbers = numbers[on]
        dual = _lowered(leaf, dual, limit)
        trial = _rounded(leaf, dual, numbers, limit, _BITS)
        if trial is None:
            break
        found = trial
    return found if found is not None else _short(leaf, start, node.sealed.cuts, _WHOLE)


def _multipliers(leaf: Leaf, pool: CutPool, sealed: Sealed) -> Multipliers:
    """The sealed numbers as a dual point over the leaf's w."""
    cuts = merged(pool.vectors(sealed.cuts), leaf, every=True)[0]
    equal = np.concatenate([sealed.diagonal, -sealed.exclusions]).astype(np.float64)
    return Multipliers(equal, cuts, sealed.multipliers.astype(np.float64))


def _lowered(leaf: Leaf, dual: Multipliers, limit: float) -> Multipliers:
    """A better dual point with the same cuts."""
    target = limit - _ROOM * abs(limit)
    return bound_maximum(
        leaf.C, leaf.equalities, leaf.trace, dual, None, target, _EFFORT, None, leaf.T
    ).multipliers


def _rounded(
    leaf: Leaf, dual: Multipliers, numbers: Array, limit: float, bits: tuple[int, ...]
) -> Sealed | None:
    """With as few of these bits as the limit allows; None where none are enough."""
    for count in bits:
        sealed = _short(leaf, dual, numbers, count)
        if sealed.bound <= limit:
            return sealed
    return None


def _short(leaf: Leaf, dual: Multipliers, numbers: Array, bits: int) -> Sealed:
    """Sealed with multipliers of so many bits below the largest's power of two."""
    top = dual.tau.max(initial=0.0)
    unit = np.ldexp(1.0, int(np.frexp(top)[1]) - bits)
    codes = np.minimum(np.rint(dual.tau / unit), 2.0**bits - 1.0)
    on = np.flatnonzero(codes > 0.0)
    on = on[np.argsort(numbers[on], kind="stable")]
    return seal(leaf, dual.equal, dual.cuts.chosen(on), codes[on] * unit, numbers[on])
