"""The checker of a choice of bits: a Lagrangian bound in rational arithmetic, without a solver.

One choice k a group g, ``sum size_gk <= budget``, least ``sum cost_gk``. For every multiplier
``lambda >= 0`` no feasible choice costs less than ``sum_g min_k (cost_gk + lambda size_gk) -
lambda budget``, which is computed exactly.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from qnn.errors import CertificateError

Array = np.ndarray


def lagrangian_bound(cost: Array, size: Array, budget: float, multiplier: float) -> Fraction:
    """The exact bound of the multiplier: cost (G, K) and size (G, K) finite.

    Raises CertificateError for numbers or shapes that mean nothing.
    """
    cost, size = np.asarray(cost, dtype=np.float64), np.asarray(size, dtype=np.float64)
    if cost.ndim != 2 or cost.shape != size.shape or cost.size == 0:
        raise CertificateError("costs and sizes must be tables of one shape")
    numbers = np.concatenate([cost.ravel(), size.ravel(), [budget, multiplier]])
    if not np.isfinite(numbers).all() or multiplier < 0.0:
        raise CertificateError("a cost, a size, the budget or the multiplier is not allowed")
    price = Fraction(multiplier)
    total = -price * Fraction(budget)
    for costs, sizes in zip(cost.tolist(), size.tolist(), strict=True):
        total += min(Fraction(c) + price * Fraction(s) for c, s in zip(costs, sizes, strict=True))
    return total


def verify_choice(
    cost: Array, size: Array, budget: float, choice: Array, multiplier: float, bound: float
) -> float:
    """The cost of the choice (G,), once budget and ``bound`` are proven; else CertificateError."""
    proven = lagrangian_bound(cost, size, budget, multiplier)
    if not (np.isfinite(bound) and Fraction(bound) <= proven):
        raise CertificateError(
            f"it states the bound {bound!r}, but only {float(proven)!r} is proven"
        )
    groups = np.arange(len(cost))
    choice = np.asarray(choice)
    in_range = choice.shape == (len(cost),) and choice.dtype.kind == "i"
    if not (in_range and choice.min() >= 0 and choice.max() < cost.shape[1]):
        raise CertificateError("the choice must name one column a group")
    spent = sum(map(Fraction, size[groups, choice].tolist()), Fraction(0))
    if spent > Fraction(budget):
        raise CertificateError("the choice exceeds the budget")
    return float(sum(map(Fraction, cost[groups, choice].tolist()), Fraction(0)))
