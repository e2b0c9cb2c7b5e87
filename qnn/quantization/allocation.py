"""Which neuron, or layer, gets how many bits: an integer program, solved by HiGHS with its gap.

I. Hubara et al. (ICML 2021) choose bits by layer so; here a group may be a single neuron, whose
costs add up exactly within the layer. Rows of different types are parts of their own in the file,
and what a part takes is in the program's sizes (`Parts`): neurons are mixed where that pays.
HiGHS's own bound is reported beside one that needs no solver, which
`qnn.certificates.layers.allocation` checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import coo_array, csr_array

from qnn.certificates.layers.allocation import (
    Parts,
    lagrangian_bound,
    table_bound,
    verify_choice,
)
from qnn.errors import InputError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Allocation:
    """A choice of bits and what is proven of it.

    bits, choice (G,); cost, size (G, K) of the options (K,); parts: what mixing adds to the size;
    budget and spent in bits of storage; value: the choice's predicted cost; bound: HiGHS's; gap,
    nodes, status: HiGHS's too; proven: the bound that is checked again without a solver, by the
    multiplier or by the table of sizes.
    """

    bits: Array
    choice: Array
    options: Array
    cost: Array
    size: Array
    parts: Parts | None
    budget: float
    spent: float
    value: float
    bound: float
    gap: float
    nodes: int
    status: str
    multiplier: float
    proven: float

    @property
    def proven_gap(self) -> float:
        """(value - proven bound) / value, 0 where the value is."""
        return (self.value - self.proven) / self.value if self.value > 0.0 else 0.0

    def verify(self) -> float:
        """The choice's cost, its stated bound proven again; else CertificateError."""
        return verify_choice(
            self.cost,
            self.size,
            self.budget,
            self.choice,
            self.multiplier,
            self.proven,
            self.parts,
        )


def allocate(
    cost: Array,
    size: Array,
    options: Array,
    budget: float,
    parts: Parts | None = None,
    time_limit: float = 60.0,
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
    result = _solved(cost, size, budget, parts, time_limit)
    groups, k = cost.shape
    choice = np.asarray(result.x)[: groups * k].reshape(groups, k).argmax(axis=1)
    choice = _within(cost, size, choice, budget, parts)
    taken = np.arange(groups)
    value = float(cost[taken, choice].sum())
    multiplier = _best_multiplier(cost, size, budget)
    proven = lagrangian_bound(cost, size, budget, multiplier, parts)
    if proven < Fraction(value) * (1 - Fraction(1, 10**6)):
        proven = max(proven, table_bound(cost, size, budget, parts))
    return Allocation(
        bits=np.asarray(options)[choice],
        choice=choice,
        options=np.asarray(options),
        cost=cost,
        size=size,
        parts=parts,
        budget=float(budget),
        spent=_spent(size, choice, parts),
        value=value,
        bound=float(result.mip_dual_bound),
        gap=float(result.mip_gap),
        nodes=int(result.mip_node_count),
        status=str(result.message),
        multiplier=multiplier,
        proven=_below(proven),
    )


def _spent(size: Array, choice: Array, parts: Parts | None) -> float:
    own = float(size[np.arange(len(size)), choice].sum())
    return own if parts is None else own + parts.of(choice)


def _solved(cost: Array, size: Array, budget: float, parts: Parts | None, time_limit: float) -> Any:
    groups, k = cost.shape
    # In units of their own: HiGHS's tolerances are absolute.
    unit = max(float(cost.max()), np.finfo(float).tiny)
    one = csr_array((np.ones(groups * k), (np.repeat(np.arange(groups), k), np.arange(groups * k))))
    sizes, room, links = size.ravel(), budget, None
    if parts is not None:
        links, more = _links(parts, groups)
        one.resize((groups, links.shape[1]))
        sizes = np.concatenate([sizes, more])
        room = budget + float(parts.more[:, 0].sum())
    result = milp(
        np.concatenate([cost.ravel() / unit, np.zeros(len(sizes) - cost.size)]),
        integrality=np.ones(len(sizes)),
        bounds=(0, 1),
        constraints=[
            LinearConstraint(one, 1, 1),
            LinearConstraint(csr_array(sizes.reshape(1, -1) / budget), -np.inf, room / budget),
            *(
                []
                if links is None
                else [LinearConstraint(links, _link_ends(links, groups * k), np.inf)]
            ),
        ],
        options={"mip_rel_gap": 1e-6, "time_limit": time_limit},
    )
    if result.x is None:
        raise InputError(f"the bits could not be allocated: {result.message}")
    result.mip_dual_bound *= unit
    return result


def _link_ends(links: csr_array, choices: int) -> Array:
    return -(np.arange(links.shape[0]) >= choices).astype(np.float64)


def _links(parts: Parts, groups: int) -> tuple[csr_array, Array]:
    """Rows that join choices, kinds in use by layer, and layers that mix; the sizes of these.

    A kind is in use where a choice is of it: used - choice >= 0. A layer mixes where two are in
    use: (kinds - 1) mixes - sum of used >= -1.
    """
    kinds, of = np.unique(parts.kind, return_inverse=True)
    k, layers, count = len(parts.kind), len(parts.more), len(kinds)
    used = groups * k + parts.layer[:, None] * count + of[None, :]
    choices = np.arange(groups * k)
    mixes = groups * k + layers * count + np.arange(layers)
    lines = groups * k + layers
    above = (np.arange(groups * k), used.ravel(), np.ones(groups * k))
    below = (np.arange(groups * k), choices, -np.ones(groups * k))
    own = groups * k + np.arange(layers * count)
    row = groups * k + np.repeat(np.arange(layers), count)
    mixed = (groups * k + np.arange(layers), mixes, np.full(layers, float(max(count - 1, 1))))
    by_kind = (row, own, -np.ones(layers * count))
    entries = [np.concatenate(part) for part in zip(above, below, mixed, by_kind, strict=True)]
    width = groups * k + layers * count + layers
    table = csr_array(coo_array((entries[2], (entries[0], entries[1])), shape=(lines, width)))
    return table, np.concatenate([np.repeat(parts.more[:, 0], count), parts.more[:, 1]])


def _within(cost: Array, size: Array, choice: Array, budget: float, parts: Parts | None) -> Array:
    """The choice, made smaller where HiGHS's tolerance let it exceed the budget by a little."""
    choice, taken = choice.copy(), np.arange(len(choice))
    while _spent(size, choice, parts) > budget:
        saved = size[taken, choice][:, None] - size
        allowed = saved > 0
        if parts is not None:
            # A kind that is new to its layer would take more.
            present = np.zeros((len(parts.more), int(parts.kind.max()) + 1), bool)
            present[parts.layer, parts.kind[choice]] = True
            allowed &= present[parts.layer][:, parts.kind]
        if not allowed.any():
            return np.asarray(size.argmin(axis=1))
        loss = np.where(allowed, cost - cost[taken, choice][:, None], np.inf)
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
