"""One leaf of a tree: its semidefinite bound with cuts, and the numbers that prove it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qnn.moments.csp.cuts import CutPool, merged, violated
from qnn.moments.csp.forms import Leaf, SignForm
from qnn.semidefinite.squares import Effort, Multipliers, Vectors, bound_maximum, keys_of

Array = np.ndarray

# What is added to a leaf's diagonal beyond its least eigenvalue, relative to its largest entry.
SLACK = 1e-9
# Multipliers below this, relative to the largest, are not kept.
LEAST_MULTIPLIER = 1e-7


@dataclass(frozen=True, eq=False)
class Sealed:
    """A leaf's numbers as a certificate keeps them: float32, the diagonal raised to be proven."""

    diagonal: Array
    exclusions: Array
    cuts: Array
    multipliers: Array

    @property
    def bound(self) -> float:
        """Of the form, but for roundings."""
        parts = (self.exclusions, self.multipliers)
        return float(self.diagonal.sum(dtype=np.float64)) - sum(
            float(part.sum(dtype=np.float64)) for part in parts
        )


@dataclass(frozen=True, eq=False)
class Node:
    """A bounded leaf: values (n,), −1 where free; its sealed numbers, bound and moments.

    X (D, D) float32: the moments over w.
    """

    values: Array
    sealed: Sealed
    bound: float
    X: Array


@dataclass(frozen=True)
class Cutting:
    """Which cuts a leaf may use: none, triangles, or larger odd sets too; and the effort."""

    triangles: bool = True
    larger: bool = True
    effort: Effort = field(default_factory=Effort)


def bound_leaf(
    form: SignForm,
    values: Array,
    pool: CutPool,
    parent: Node | None,
    target: float,
    cutting: Cutting,
    over: Callable[[], bool] | None = None,
) -> Node:
    """Bound the form over the assignments with these values; the parent's cuts are a start.

    target: of the form; below it no more is asked for.
    """
    leaf = form.leaf(values)
    if leaf.size == 1:
        sealed = seal(leaf, np.array([leaf.C[0, 0]]), Vectors.none(), np.zeros(0), np.zeros(0, int))
        return Node(values, sealed, sealed.bound, np.ones((1, 1), dtype=np.float32))
    start: Multipliers | None = None
    known: dict[bytes, int] = {}
    if parent is not None:
        start, known = _inherited(form, leaf, pool, parent)

    def separate(X: Array, least: float, most: int) -> Vectors:
        return violated(X, leaf, least, most, cutting.larger)

    result = bound_maximum(
        leaf.C,
        leaf.equalities,
        leaf.trace,
        start,
        separate if cutting.triangles else None,
        target - 1e-6 * abs(target) if np.isfinite(target) else target,
        cutting.effort,
        over,
        leaf.T,
    )
    dual = result.multipliers
    on = np.flatnonzero(dual.tau > LEAST_MULTIPLIER * dual.tau.max(initial=0.0))
    cuts, tau = dual.cuts.chosen(on), dual.tau[on]
    sealed = seal(leaf, dual.equal, cuts, tau, _numbers(cuts, leaf, pool, known))
    return Node(values, sealed, sealed.bound, result.X.astype(np.float32))


def _numbers(cuts: Vectors, leaf: Leaf, pool: CutPool, known: dict[bytes, int]) -> Array:
    """Of cuts over w: of those inherited, the parent's numbers; the others join the pool."""
    keys = keys_of(cuts)
    numbers = np.array([known.get(key, -1) for key in keys], dtype=np.int64)
    new = np.flatnonzero(numbers < 0)
    numbers[new] = pool.add(cuts.chosen(new), leaf)
    return numbers


def _inherited(
    form: SignForm, leaf: Leaf, pool: CutPool, parent: Node
) -> tuple[Multipliers, dict[bytes, int]]:
    """The parent's multipliers for a leaf with more values fixed, and its cuts' numbers."""
    k = form.payoffs.k
    before = np.flatnonzero(parent.values < 0)
    stay = leaf.values[before] < 0
    sealed = parent.sealed
    units = sealed.diagonal.astype(np.float64)
    own = units[1:].reshape(len(before), k - 1)
    head = np.append(units[0] + own[~stay].sum(), own[stay])
    pairs = (k - 1) * (k - 2) // 2
    exclusions = -sealed.exclusions.astype(np.float64).reshape(len(before), pairs)[stay]
    cuts, rows = merged(pool.vectors(sealed.cuts), leaf)
    keys = keys_of(cuts)
    known = dict(zip(keys, sealed.cuts[rows].tolist(), strict=True))
    equal = np.concatenate([head, exclusions.ravel()])
    tau = sealed.multipliers[rows].astype(np.float64)
    return Multipliers(equal, cuts, tau), known


def seal(leaf: Leaf, equal: Array, cuts: Vectors, tau: Array, numbers: Array) -> Sealed:
    """Round the multipliers to float32, and raise the diagonal until the slack is semidefinite."""
    size = leaf.size
    K = leaf.C.copy()
    leaf.equalities.add_squares(-equal, K)
    cuts.add_squares(tau, K)
    T = leaf.T
    # In the basis, whose identity costs least; then once more for what rounding has changed.
    equal = equal + leaf.shift * float(np.linalg.eigvalsh(K if T is None else T.T @ K @ T)[-1])
    tau32, rho32 = tau.astype(np.float32), -equal[size:].astype(np.float32)
    rounded = np.concatenate([equal[:size], -rho32.astype(np.float64)])
    K = leaf.C.copy()
    leaf.equalities.add_squares(-rounded, K)
    cuts.add_squares(tau32.astype(np.float64), K)
    largest = float(np.linalg.eigvalsh(K)[-1])
    scale = float(np.abs(K).max(initial=0.0) + np.abs(leaf.C).max() + np.abs(equal).max())
    diagonal = rounded[:size] + max(largest, 0.0) + SLACK * scale
    up = np.nextafter(diagonal.astype(np.float32), np.float32(np.inf))
    return Sealed(up, rho32, numbers, tau32)


def indicator_moments(node: Node, k: int) -> Array:
    """Z (n, k, n, k): Pr[x_i = a, x_j = b] as the relaxation has it, clipped to [0, 1]."""
    n, size = len(node.values), len(node.X)
    H = np.zeros((n, k, size))
    first = 1
    for i, value in enumerate(node.values):
        if value >= 0:
            H[i, value, 0] = 1.0
            continue
        own = np.arange(first, first + k - 1)
        H[i, : k - 1, 0] = 0.5
        H[i, np.arange(k - 1), own] = -0.5
        H[i, k - 1, 0] = 0.5 * (3 - k)
        H[i, k - 1, own] = 0.5
        first += k - 1
    X = node.X.astype(np.float64)
    scale = 1.0 / np.sqrt(np.maximum(X.diagonal(), 1e-9))
    rows = H.reshape(n * k, size)
    Z = rows @ (X * scale[:, None] * scale) @ rows.T
    return np.asarray(np.clip(Z, 0.0, 1.0).reshape(n, k, n, k))


def distributions(Z: Array) -> Array:
    """Each variable's own distribution, summing to 1, (n, k)."""
    means = np.maximum(np.einsum("iaia->ia", Z), 1e-12)
    return np.asarray(means / means.sum(axis=1, keepdims=True))
