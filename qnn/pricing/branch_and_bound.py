"""Exact pricing beyond enumeration: `max uᵀMv` over signs by branch and bound, with proofs to keep.

A node fixes the signs s of some entries of u. With `B` the row `Σ s_i M_i` above the free rows of
M, what is left is `max wᵀBv`, w = (1, free u), and for all a, b > 0 with

    Diag(a) and Diag(b) on the diagonal, −B and −Bᵀ beside it: positive semidefinite

it is at most `½(Σa + Σb)`. At a stationary point of the low-rank primal `max Σ B_ij p_iᵀq_j` over
unit vectors (the mixing method: Wang, Chang, Kolter 2017), `a_i = ‖Σ_j B_ij q_j‖` and
`b_j = ‖Σ_i B_ij p_i‖`, scaled by the largest singular value of `Diag(a)^−½ B Diag(b)^−½` (one cheap
scaling a node), are such a pair. The node with the largest bound is split first, on the free entry
with the largest a; u and −u are one. So the largest bound of all leaves is at any time a bound of
the maximum, and the leaves with their a, b are its proof.
"""

import heapq
import time
from dataclasses import dataclass

import numba
import numpy as np

from qnn.pricing.heuristic import alternating_maximization, signs

Array = np.ndarray

# Vectors of the low-rank primal: beyond √(2(1 + d)) there are no local optima that are not global.
LEAST_RANK = 8
# Sweeps of a node, which starts at its parent's vectors, and of the root.
SWEEPS, ROOT_SWEEPS = 60, 500
# Sweeps end where they gain less than this, relative.
PROGRESS = 1e-4
# Entries of a and b are kept this far from 0, relative to their mean.
FLOOR = 1e-6
# Nodes that may be open: their vectors take some hundred megabytes then.
MOST_OPEN = 100_000
# Starts of the heuristic at each split node.
STARTS = 4


@dataclass(frozen=True, eq=False)
class Branching:
    """The leaves of a search: what they prove, and the atoms above the floor that were met.

    signs (L, d) int8: those fixed, 0 where free; together with their negatives the leaves cover
    all u. diagonals (L, 2d + 1) float32: a of the fixed part, a of the free entries (0 where fixed)
    and b. `upper_bound` is the largest bound of a leaf, as computed. U, V (d, k), values (k,), best
    first; `complete`: the bound is at most the floor.
    """

    signs: Array
    diagonals: Array
    upper_bound: float
    U: Array
    V: Array
    values: Array
    complete: bool
    nodes: int


@dataclass(frozen=True, eq=False, slots=True)
class _Node:
    signs: Array
    diagonal: Array
    bound: float
    Q: Array


def branch_and_bound(
    M: Array,
    floor: float,
    deadline: float | None = None,
    most_open: int = MOST_OPEN,
) -> Branching:
    """Split until the bound is at most `floor`, atoms above it are found, or time or room end.

    M (d, d) symmetric. floor: what the maximum is hoped not to exceed. deadline: `time.monotonic`.
    """
    search = _Search(np.ascontiguousarray(M, dtype=np.float64))
    root = np.zeros(len(M), dtype=np.int8)
    root[int(np.argmax(np.abs(M).sum(axis=1)))] = 1
    heap: list[tuple[float, int, _Node]] = []
    closed: list[_Node] = []
    count = nodes = 0
    found: list[tuple[Array, Array, Array]] = []

    def add(node: _Node) -> None:
        nonlocal count
        if node.bound <= floor:
            closed.append(node)
        else:
            count += 1
            heapq.heappush(heap, (-node.bound, count, node))

    add(search.node(root, search.first_vectors(), ROOT_SWEEPS, 0.0))
    while heap and len(heap) < most_open and not found:
        if deadline is not None and time.monotonic() > deadline:
            break
        node = heap[0][2]
        above = search.atoms(node, floor)
        if above is not None:
            found.append(above)
            break
        if np.all(node.signs):
            break
        heapq.heappop(heap)
        nodes += 1
        for sign in (1, -1):
            fixed = node.signs.copy()
            fixed[search.branch(node)] = sign
            add(search.node(fixed, node.Q, SWEEPS, PROGRESS))
    leaves = closed + [entry[2] for entry in heap]
    none = np.zeros((len(M), 0)), np.zeros((len(M), 0)), np.zeros(0)
    U, V, values = found[0] if found else none
    return Branching(
        signs=np.array([leaf.signs for leaf in leaves]),
        diagonals=np.array([leaf.diagonal for leaf in leaves]),
        upper_bound=max(leaf.bound for leaf in leaves),
        U=U,
        V=V,
        values=values,
        complete=not heap,
        nodes=nodes,
    )


class _Search:
    def __init__(self, M: Array) -> None:
        self.M = M
        d = self.d = len(M)
        self.rank = max(LEAST_RANK, int(np.ceil(np.sqrt(2.0 * (d + 1)))))
        self.rng = np.random.default_rng(0)

    def first_vectors(self) -> Array:
        Q = self.rng.standard_normal((self.d, self.rank))
        return np.asarray(Q / np.linalg.norm(Q, axis=1)[:, None])

    def node(self, fixed: Array, Q: Array, sweeps: int, progress: float) -> _Node:
        """Bound a node, starting from its parent's vectors."""
        free = fixed == 0
        B = np.vstack([fixed.astype(np.float64) @ self.M, self.M[free]])
        Q = Q.astype(np.float64)
        P = np.empty((len(B), self.rank))
        mix(B, P, Q, sweeps, progress)
        a, b = _lifted(np.linalg.norm(B @ Q, axis=1)), _lifted(np.linalg.norm(B.T @ P, axis=1))
        scaled = B / np.sqrt(a)[:, None] / np.sqrt(b)
        # A little more than the singular value, which is rounded as the entries are on storing.
        scale = float(np.linalg.norm(scaled, 2)) * (1.0 + 1e-6)
        diagonal = np.zeros(2 * self.d + 1, dtype=np.float32)
        diagonal[0] = scale * a[0]
        diagonal[1 : self.d + 1][free] = scale * a[1:]
        diagonal[self.d + 1 :] = scale * b
        bound = 0.5 * float(diagonal.sum(dtype=np.float64))
        return _Node(fixed, diagonal, bound, Q.astype(np.float32))

    def branch(self, node: _Node) -> int:
        """The free entry with the largest a."""
        return int(np.argmax(np.where(node.signs == 0, node.diagonal[1 : self.d + 1], -1.0)))

    def atoms(self, node: _Node, floor: float) -> tuple[Array, Array, Array] | None:
        """Atoms above the floor near a node, by rounding its vectors and alternating."""
        if np.all(node.signs):
            starts = node.signs[:, None].astype(np.float64)
        else:
            starts = signs(
                node.Q.astype(np.float64) @ self.rng.standard_normal((self.rank, STARTS))
            )
        U, V, values = alternating_maximization(self.M, starts)
        above = np.flatnonzero(values > floor)
        if not len(above):
            return None
        order = above[np.argsort(-values[above], kind="stable")]
        return U[:, order], V[:, order], values[order]


def _lifted(diagonal: Array) -> Array:
    size = float(diagonal.mean())
    return np.asarray(np.maximum(diagonal, FLOOR * size if size > 0.0 else 1.0))


@numba.njit(cache=True, nogil=True)
def mix(B: np.ndarray, P: np.ndarray, Q: np.ndarray, sweeps: int, progress: float) -> None:
    """Each p_i = Σ_j B_ij q_j and then each q_j = Σ_i B_ij p_i, to unit length, in place.

    B (k, d), P (k, r), Q (d, r). Ends where a sweep gains no more than `progress`, relative.
    """
    last = 0.0
    for _ in range(sweeps):
        for i in range(len(B)):
            _towards(B[i], Q, P[i])
        value = 0.0
        for j in range(B.shape[1]):
            value += _towards(B[:, j], P, Q[j])
        if value - last <= progress * value:
            break
        last = value


@numba.njit(cache=True, nogil=True)
def _towards(weights: np.ndarray, others: np.ndarray, vector: np.ndarray) -> float:
    vector[:] = 0.0
    for k in range(len(weights)):
        if weights[k] != 0.0:
            for t in range(len(vector)):
                vector[t] += weights[k] * others[k, t]
    square = 0.0
    for t in range(len(vector)):
        square += vector[t] * vector[t]
    length = np.sqrt(square)
    if length > 0.0:
        for t in range(len(vector)):
            vector[t] /= length
    else:
        vector[0] = 1.0
    return float(length)
