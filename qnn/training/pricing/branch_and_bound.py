"""Exact pricing beyond enumeration: a maximum over signs by branch and bound, with proofs to keep.

The node with the largest bound is split first, on the free entry with the largest share of the
dual (`qnn.training.pricing.nodes`). So the largest bound of all leaves is at any time a bound of
the maximum, and the leaves with their dual numbers are its proof.
"""

import heapq
import time
from dataclasses import dataclass

import numpy as np

from qnn.training.pricing.nodes import FormNodes, Node, Nodes, PairNodes

Array = np.ndarray

# Nodes that may be open: their vectors take some hundred megabytes then.
MOST_OPEN = 100_000


@dataclass(frozen=True, eq=False)
class Branching:
    """The leaves of a search: what they prove, and the atoms above the floor that were met.

    signs (L, d) int8: those fixed, 0 where free. diagonals (L, ·) float32: the numbers of each, as
    `nodes.py` lays them out. bounds, constants (L,): of each, as computed, and what
    of them does not grow with its numbers. U, V (d, k), values (k,): best first. `complete`: the
    largest bound is at most the floor.
    """

    signs: Array
    diagonals: Array
    bounds: Array
    constants: Array
    U: Array
    V: Array
    values: Array
    complete: bool
    nodes: int

    @property
    def upper_bound(self) -> float:
        """The largest bound of a leaf, as computed."""
        return float(self.bounds.max())

    def raised(self, margin: float) -> float:
        """The largest bound with all numbers raised by this relative margin."""
        return float((self.bounds + margin * (self.bounds - self.constants)).max())


def branch_and_bound(
    M: Array,
    floor: float,
    deadline: float | None = None,
    most_open: int = MOST_OPEN,
) -> Branching:
    """Split until the bound is at most `floor`, atoms above it are found, or time or room end.

    Of `max uᵀMv`, M (d, d) symmetric; the leaves with their negatives cover all u. floor: what the
    maximum is hoped not to exceed. deadline: `time.monotonic`.
    """
    return _search(PairNodes(M), floor, deadline, most_open)


def branch_and_bound_forms(
    M: Array,
    floor: float,
    even: bool = False,
    deadline: float | None = None,
    most_open: int = MOST_OPEN,
) -> Branching:
    """The same of `max |uᵀMu|`, the last entry of u being +1.

    The last sign of a leaf says whether it is one of M (+1) or of −M (−1); those of each cover all
    u. even: M has nothing beside the diagonal of the last row, so that each half of u is enough.
    """
    return _search(FormNodes(M, even), floor, deadline, most_open)


def _search(nodes: Nodes, floor: float, deadline: float | None, most_open: int) -> Branching:
    heap: list[tuple[float, int, Node]] = []
    closed: list[Node] = []
    count = split = 0
    found: list[tuple[Array, Array, Array]] = []

    def add(node: Node) -> None:
        nonlocal count
        if node.bound <= floor:
            closed.append(node)
        else:
            count += 1
            heapq.heappush(heap, (-node.bound, count, node))

    for root in nodes.roots():
        add(root)
    while heap and len(heap) < most_open and not found:
        if deadline is not None and time.monotonic() > deadline:
            break
        node = heap[0][2]
        above = nodes.atoms(node, floor)
        if above is not None:
            found.append(above)
            break
        if np.all(node.signs):
            break
        heapq.heappop(heap)
        split += 1
        for sign in (1, -1):
            add(nodes.child(node, sign))
    leaves = closed + [entry[2] for entry in heap]
    none = np.zeros((nodes.d, 0)), np.zeros((nodes.d, 0)), np.zeros(0)
    U, V, values = found[0] if found else none
    return Branching(
        signs=np.array([leaf.signs for leaf in leaves]),
        diagonals=np.array([leaf.numbers for leaf in leaves]),
        bounds=np.array([leaf.bound for leaf in leaves]),
        constants=np.array([leaf.constant for leaf in leaves]),
        U=U,
        V=V,
        values=values,
        complete=not heap,
        nodes=split,
    )
