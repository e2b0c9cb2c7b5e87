"""Which neuron, or layer, gets how many bits: an integer program, solved by HiGHS with its gap.

I. Hubara et al. (ICML 2021) choose bits by layer so; here a group may be a single neuron, whose
costs add up exactly within the layer. HiGHS's own bound is reported beside one that needs no
solver: the Lagrangian bound of one multiplier, which `qnn.certificates.layers.allocation` checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import csr_array

from qnn.certificates.layers.allocation import lagrangian_bound, verify_choice
from qnn.errors import InputError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Allocation:
    """A choice of bits and what is proven of it.

    bits, choice (G,); cost, size (G, K) of the options (K,); budget and spent in bits of storage;
    value: the choice's predicted cost; bound: HiGHS's; gap, nodes, status: HiGHS's too;
    multiplier, lagrangian: the bound that is proven again in rational arithmetic.
    """

    bits: Array
    choice: Array
    options: Array
    cost: Array
    size: Array
    budget: float
    spent: float
    value: float
    bound: float
    gap: float
    nodes: int
    status: str
    multiplier: float
    lagrangian: float

    @property
    def lagrangian_gap(self) -> float:
        """(value - Lagrangian bound) / value, 0 where the value is."""
        return (self.value - self.lagrangian) / self.value if self.value > 0.0 else 0.0

    def verify(self) -> float:
        """The choice's cost, proven within the stated Lagrangian gap; else CertificateError."""
        return verify_choice(
            self.cost, self.size, self.budget, self.choice, self.multiplier, self.lagrangian
        )


def allocate(
    cost: Array, size: Array, options: Array, budget: float, time_limit: float = 60.0
) -> Allocation:
    """The cheapest choice, one of the options (K,) a group, of total size at most the budget.

    cost, size (G, K), finite and not negative. Raises InputError where even the smallest choice
    exceeds the budget.
    """
    smallest = float(size.min(axis=1).sum())
    if smallest > budget:
        raise InputError(
            f"the budget is impossible: {budget:.0f} bits of weights, but the smallest possible "
            f"are {smallest:.0f}: raise the budget or allow fewer bits"
        )
    result = _solved(cost, size, budget, time_limit)
    groups, k = cost.shape
    choice = np.asarray(result.x).reshape(groups, k).argmax(axis=1)
    choice = _within(cost, size, choice, budget)
    taken = np.arange(groups)
    multiplier = _best_multiplier(cost, size, budget)
    return Allocation(
        bits=np.asarray(options)[choice],
        choice=choice,
        options=np.asarray(options),
        cost=cost,
        size=size,
        budget=float(budget),
        spent=float(size[taken, choice].sum()),
        value=float(cost[taken, choice].sum()),
        bound=float(result.mip_dual_bound),
        gap=float(result.mip_gap),
        nodes=int(result.mip_node_count),
        status=str(result.message),
        multiplier=multiplier,
        lagrangian=_below(lagrangian_bound(cost, size, budget, multiplier)),
    )


def _solved(cost: Array, size: Array, budget: float, time_limit: float) -> Any:
    groups, k = cost.shape
    # In units of their own: HiGHS's tolerances are absolute.
    unit = max(float(cost.max()), np.finfo(float).tiny)
    one = csr_array((np.ones(groups * k), (np.repeat(np.arange(groups), k), np.arange(groups * k))))
    result = milp(
        cost.ravel() / unit,
        integrality=np.ones(groups * k),
        bounds=(0, 1),
        constraints=[
            LinearConstraint(one, 1, 1),
            LinearConstraint(csr_array(size.reshape(1, -1) / budget), -np.inf, 1.0),
        ],
        options={"mip_rel_gap": 1e-6, "time_limit": time_limit},
    )
    if result.x is None:
        raise InputError(f"the bits could not be allocated: {result.message}")
    result.mip_dual_bound *= unit
    return result


def _within(cost: Array, size: Array, choice: Array, budget: float) -> Array:
    """The choice, made smaller where HiGHS's tolerance let it exceed the budget by a little."""
    choice, taken = choice.copy(), np.arange(len(choice))
    while size[taken, choice].sum() > budget:
        saved = size[taken, choice][:, None] - size
        loss = np.where(saved > 0, cost - cost[taken, choice][:, None], np.inf)
        g, k = np.unravel_index(int(np.argmin(loss / np.maximum(saved, 1e-300))), loss.shape)
        choice[g] = k
    return choice


def _best_multiplier(cost: Array, size: Array, budget: float) -> float:
    """Bisection: the Lagrangian's slope falls with the multiplier, from excess to slack."""

    def excess(price: float) -> float:
        priced = cost + price * size
        least = priced.min(axis=1, keepdims=True)
        # Of equally cheap options the smallest.
        sizes = np.where(priced <= least * (1.0 + 1e-15), size, np.inf)
        return float(sizes.min(axis=1).sum()) - budget

    if excess(0.0) <= 0.0:
        return 0.0
    low, high = 0.0, 1e-12 * (float(cost.max()) + 1e-300)
    while excess(high) > 0.0:
        low, high = high, 4.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
    return high


def _below(value: Fraction) -> float:
    number = float(value)
    return number if Fraction(number) <= value else float(np.nextafter(number, -np.inf))
