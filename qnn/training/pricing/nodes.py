"""The nodes of a branch and bound over signs: a bound of each, from a semidefinite dual.

* `PairNodes`, of `max uᵀMv`: a node fixes the signs s of some entries of u. With `B` the row
  `Σ s_i M_i` above the free rows of M, what is left is `max wᵀBv`, w = (1, free u), and for all
  a, b > 0 with

      Diag(a) and Diag(b) on the diagonal, −B and −Bᵀ beside it: positive semidefinite

  it is at most `½(Σa + Σb)`. At a stationary point of the low-rank primal `max Σ B_ij p_iᵀq_j` over
  unit vectors (the mixing method: Wang, Chang, Kolter 2017), `a_i = ‖Σ_j B_ij q_j‖` and
  `b_j = ‖Σ_i B_ij p_i‖`, scaled by the largest singular value of `Diag(a)^−½ B Diag(b)^−½` (one
  cheap scaling a node), are such a pair. u and −u are one.
* `FormNodes`, of `max |uᵀMu|` with a last entry of +1: a node is of M or of −M, and fixes signs of
  some of the other entries. With `B = SᵀMS`, S the fixed signs as one column beside the free
  entries, `B°` without its diagonal, what is left is `tr B + max wᵀB°w`, at most `tr B + Σa` where
  `Diag(a) − B°` is positive semidefinite; `a_i = ‖Σ_j B°_ij p_j‖`, scaled in the same way.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from qnn.networks.atoms.maxima import alternating_maximization, flip_maximization, signs
from qnn.numerics.compiled import compiled

Array = np.ndarray

# Vectors of the low-rank primal: beyond √(2(1 + d)) there are no local optima that are not global.
LEAST_RANK = 8
# Sweeps of a node, which starts at its parent's vectors, and of the root.
SWEEPS, ROOT_SWEEPS = 60, 500
# Sweeps end where they gain less than this, relative.
PROGRESS = 1e-4
# Entries of a and b are kept this far from 0, relative to their mean.
FLOOR = 1e-6
# A scaling is raised by this: it is rounded, as the entries are on storing.
RAISED = 1.0 + 1e-6
# Starts of the heuristic at each split node.
STARTS = 4


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """Signs (d,) int8, 0 where free; the bound is `constant` plus a multiple of Σ numbers."""

    signs: Array
    numbers: Array
    constant: float
    bound: float
    Q: Array


class Nodes(ABC):
    """How the nodes of one kind of maximum are bounded, split and searched; M (d, d) symmetric."""

    def __init__(self, M: Array) -> None:
        self.M = np.ascontiguousarray(M, dtype=np.float64)
        d = self.d = len(self.M)
        self.rank = max(LEAST_RANK, int(np.ceil(np.sqrt(2.0 * (d + 1)))))
        self.rng = np.random.default_rng(0)

    def first_vectors(self) -> Array:
        """Random unit vectors (d, rank)."""
        Q = self.rng.standard_normal((self.d, self.rank))
        return np.asarray(Q / np.linalg.norm(Q, axis=1)[:, None])

    def heaviest(self, among: int) -> int:
        """Which of the first rows has the largest sum."""
        return int(np.argmax(np.abs(self.M).sum(axis=1)[:among]))

    def child(self, node: Node, sign: int) -> Node:
        """The half of a node in which its branching entry has this sign."""
        fixed = node.signs.copy()
        fixed[self.branch(node)] = sign
        return self.node(fixed, node.Q, SWEEPS, PROGRESS)

    @abstractmethod
    def roots(self) -> list[Node]:
        """The nodes that cover all signs."""

    @abstractmethod
    def node(self, fixed: Array, Q: Array, sweeps: int, progress: float) -> Node:
        """Bound a node, starting from its parent's vectors."""

    @abstractmethod
    def branch(self, node: Node) -> int:
        """The free entry with the largest a."""

    @abstractmethod
    def atoms(self, node: Node, floor: float) -> tuple[Array, Array, Array] | None:
        """Atoms (U, V, values) above the floor near a node, by rounding its vectors."""


class PairNodes(Nodes):
    """Of `max uᵀMv`. numbers (2d + 1): a of the fixed part, of the free entries (else 0), and b."""

    def roots(self) -> list[Node]:
        """One: an entry of u may be taken as +1."""
        root = np.zeros(self.d, dtype=np.int8)
        root[self.heaviest(self.d)] = 1
        return [self.node(root, self.first_vectors(), ROOT_SWEEPS, 0.0)]

    def node(self, fixed: Array, Q: Array, sweeps: int, progress: float) -> Node:
        """Bound a node, starting from its parent's vectors (d, rank) of v."""
        free = fixed == 0
        B = np.vstack([fixed.astype(np.float64) @ self.M, self.M[free]])
        Q = Q.astype(np.float64)
        P = np.empty((len(B), self.rank))
        mix(B, P, Q, sweeps, progress)
        a, b = _lifted(np.linalg.norm(B @ Q, axis=1)), _lifted(np.linalg.norm(B.T @ P, axis=1))
        scaled = B / np.sqrt(a)[:, None] / np.sqrt(b)
        scale = float(np.linalg.norm(scaled, 2)) * RAISED
        numbers = np.zeros(2 * self.d + 1, dtype=np.float32)
        numbers[0] = scale * a[0]
        numbers[1 : self.d + 1][free] = scale * a[1:]
        numbers[self.d + 1 :] = scale * b
        bound = 0.5 * float(numbers.sum(dtype=np.float64))
        return Node(fixed, numbers, 0.0, bound, Q.astype(np.float32))

    def branch(self, node: Node) -> int:
        """The free entry with the largest a."""
        return int(np.argmax(np.where(node.signs == 0, node.numbers[1 : self.d + 1], -1.0)))

    def atoms(self, node: Node, floor: float) -> tuple[Array, Array, Array] | None:
        """Rounded and alternated."""
        if np.all(node.signs):
            starts = node.signs[:, None].astype(np.float64)
        else:
            starts = _rounded(node.Q, self.rng)
        return _above(*alternating_maximization(self.M, starts), floor)


class FormNodes(Nodes):
    """Of `max |uᵀMu|`. The last of a node's signs says whether it bounds M (+1) or −M (−1).

    numbers (d): a of the fixed part, and of the free entries before the last (else 0). Q (d, rank):
    its last row is the fixed part's vector. even: u and −u are one but for the last entry.
    """

    def __init__(self, M: Array, even: bool) -> None:
        super().__init__(M)
        self.even = even

    def roots(self) -> list[Node]:
        """One of each sign."""
        found = []
        for side in (1, -1):
            root = np.zeros(self.d, dtype=np.int8)
            root[-1] = side
            if self.even:
                root[self.heaviest(self.d - 1)] = 1
            found.append(self.node(root, self.first_vectors(), ROOT_SWEEPS, 0.0))
        return found

    def node(self, fixed: Array, Q: Array, sweeps: int, progress: float) -> Node:
        """Bound a node, starting from its parent's vectors."""
        free = np.flatnonzero(fixed == 0)
        s = fixed.astype(np.float64)
        s[-1] = 1.0
        row = s @ self.M
        B = np.empty((len(free) + 1, len(free) + 1))
        B[0, 0] = row @ s
        B[0, 1:] = B[1:, 0] = row[free]
        B[1:, 1:] = self.M[np.ix_(free, free)]
        B *= float(fixed[-1])
        constant = float(np.trace(B))
        np.fill_diagonal(B, 0.0)
        Q = Q.astype(np.float64)
        at = np.append(self.d - 1, free)
        P = np.ascontiguousarray(Q[at])
        mix_form(B, P, sweeps, progress)
        Q[at] = P
        a = _lifted(np.linalg.norm(B @ P, axis=1))
        largest = float(np.linalg.eigvalsh(B / np.sqrt(a)[:, None] / np.sqrt(a))[-1])
        numbers = np.zeros(self.d, dtype=np.float32)
        numbers[np.append(0, free + 1)] = max(largest, 0.0) * RAISED * a
        bound = constant + float(numbers.sum(dtype=np.float64))
        return Node(fixed, numbers, constant, bound, Q.astype(np.float32))

    def branch(self, node: Node) -> int:
        """The free entry with the largest a."""
        return int(np.argmax(np.where(node.signs[:-1] == 0, node.numbers[1:], -1.0)))

    def atoms(self, node: Node, floor: float) -> tuple[Array, Array, Array] | None:
        """Rounded, those fixed as they are, and improved by single flips."""
        starts = _rounded(node.Q, self.rng)
        starts = starts[:-1] * starts[-1]
        fixed = node.signs[:-1, None]
        U, values = flip_maximization(self.M, np.where(fixed != 0, fixed, starts))
        W = np.vstack([U, np.ones((1, U.shape[1]))])
        return _above(W, W, values, floor)


def _rounded(Q: Array, rng: np.random.Generator) -> Array:
    return signs(Q.astype(np.float64) @ rng.standard_normal((Q.shape[1], STARTS)))


def _above(U: Array, V: Array, values: Array, floor: float) -> tuple[Array, Array, Array] | None:
    above = np.flatnonzero(values > floor)
    if not len(above):
        return None
    order = above[np.argsort(-values[above], kind="stable")]
    return U[:, order], V[:, order], values[order]


def _lifted(diagonal: Array) -> Array:
    size = float(diagonal.mean())
    return np.asarray(np.maximum(diagonal, FLOOR * size if size > 0.0 else 1.0))


@compiled(nogil=True)
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


@compiled(nogil=True)
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


@compiled(nogil=True)
def mix_form(B: np.ndarray, P: np.ndarray, sweeps: int, progress: float) -> None:
    """Each p_i = Σ_j B_ij p_j, to unit length, in place; B (k, k) symmetric, zeros on the diagonal.

    P (k, r). Ends where a sweep gains no more than `progress`, relative.
    """
    last = 0.0
    for _ in range(sweeps):
        value = 0.0
        for i in range(len(B)):
            value += _towards(B[i], P, P[i])
        if value - last <= progress * value:
            break
        last = value
