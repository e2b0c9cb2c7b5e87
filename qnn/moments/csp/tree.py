"""Trees over assignments whose leaves are bounded: of given seeds, or best first to optimality.

The leaf with the largest bound is split first, so that this bound is at any time one of the
maximum, and the leaves with their multipliers are its proof. Children inherit cuts and multipliers.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from qnn.certificates.csp import CspCertificate, Payoffs
from qnn.moments.csp.compact import compacted
from qnn.moments.csp.crew import Crew, Job, key_of
from qnn.moments.csp.cuts import CutPool
from qnn.moments.csp.forms import SignForm, pair_payoffs, symmetric
from qnn.moments.csp.leaves import Cutting, Node, bound_leaf
from qnn.moments.csp.local_search import improved, tabu_search
from qnn.moments.csp.seeds import choose_seeds

Array = np.ndarray

# Told of nodes so far, the best value and the bound that is proven.
Watch = Callable[[int, float, float], None]
# Leaves that are looked at for children to bound ahead.
MOST_AHEAD = 64
# Random directions that a node's moments are rounded along.
DIRECTIONS = 8
# What a gap may be, of what is paid.
_RELATIVE = 1e-6
# Of the step, and of what the least constraint is about: two values that differ do so by more.
_BELOW = 0.999


def unwatched(nodes: int, value: float, bound: float) -> None:
    """Nobody is told."""


@dataclass(eq=False)
class Branch:
    """A node of the tree: a leaf where `variable` is −1, else with k children."""

    node: Node | None
    variable: int = -1
    children: list[Branch] = field(default_factory=list)


class Search:
    """A tree under way: its leaves, the cuts they share, and the best assignment found.

    yardstick: what counts as no gap. unit: of payoffs; W and unary are in it. best: the value of
    the assignment, without the constant. crew: who bounds leaves ahead.
    """

    def __init__(self, payoffs: Payoffs, cutting: Cutting, seed: int = 0) -> None:
        self.payoffs, self.cutting = payoffs, cutting
        self.form = SignForm.of(payoffs)
        self.unit = unit_of(payoffs)
        self.W, self.unary = pair_payoffs(payoffs) / self.unit, payoffs.unary / self.unit
        self.pool = CutPool()
        self.rng = np.random.default_rng(seed)
        self.yardstick = Yardstick.of(payoffs)
        self.free = self._heaviest() if symmetric(payoffs) else -1
        self.nodes = 0
        self.crew: Crew | None = None
        self.best = -np.inf
        self.assignment = np.zeros(payoffs.n, dtype=np.int64)
        self._first_assignments()

    def _heaviest(self) -> int:
        return int(np.abs(self.W).sum(axis=(1, 2, 3)).argmax())

    def _first_assignments(self) -> None:
        n, k = self.payoffs.n, self.payoffs.k
        for _ in range(4):
            x = self.rng.integers(0, k, size=n)
            x, value = tabu_search(self.W, self.unary, x, 60 * n, self.rng)
            self.offer(x, value * self.unit)

    def offer(self, x: Array, value: float) -> None:
        """Keep an assignment if it is the best; value without the constant."""
        if value > self.best + 1e-3 * self.yardstick.room(value):
            self.best, self.assignment = value, x.copy()

    @property
    def value(self) -> float:
        """Of the best assignment."""
        return self.best + self.payoffs.constant

    @property
    def target(self) -> float:
        """The bound of the form at or below which no leaf can hold anything better."""
        return 4.0 * (self.best + self.yardstick.room(self.best))

    def root(self, over: Callable[[], bool]) -> Branch:
        """The tree of one leaf."""
        values = np.full(self.payoffs.n, -1, dtype=np.int16)
        if self.free >= 0:
            values[self.free] = 0
        return Branch(self.bounded(values, None, over))

    def bounded(self, values: Array, parent: Node | None, over: Callable[[], bool]) -> Node:
        """Bound a leaf and round its moments."""
        self.nodes += 1
        node = self._bounded_ahead(values, parent)
        if node is None:
            node = bound_leaf(self.form, values, self.pool, parent, self.target, self.cutting, over)
        self.round(node)
        return node

    def _bounded_ahead(self, values: Array, parent: Node | None) -> Node | None:
        if self.crew is None or parent is None:
            return None
        apart = self.crew.take(key_of(values, self.target))
        return None if apart is None else apart.joined(parent, self.pool)

    def look_ahead(self, parent: Node, variable: int, first: int = 0) -> bool:
        """Have the children of a leaf bounded, from this one on; whether there is room for more."""
        assert self.crew is not None
        for values in children_of(parent, variable, self.payoffs.k)[first:]:
            key = key_of(values, self.target)
            if not self.crew.want(key, partial(self._job, values, parent)):
                return False
        return True

    def _job(self, values: Array, parent: Node) -> Job:
        cuts = self.pool.vectors(parent.sealed.cuts)
        return Job(values, parent, cuts, self.target, self.cutting)

    def round(self, node: Node) -> None:
        """Offer assignments near a node's moments: along random directions, then improved."""
        fixed = node.values.astype(np.int64)
        for x in rounded(node, self.payoffs.k, DIRECTIONS, self.rng):
            x, value = improved(self.W, self.unary, x, fixed)
            self.offer(x, value * self.unit)

    def split(
        self,
        branch: Branch,
        variable: int,
        over: Callable[[], bool],
    ) -> list[Branch]:
        """Make a leaf a node with k leaves."""
        parent = branch.node
        assert parent is not None
        for values in children_of(parent, variable, self.payoffs.k):
            branch.children.append(Branch(self.bounded(values, parent, over)))
        branch.variable, branch.node = variable, None
        return branch.children


def children_of(parent: Node, variable: int, k: int) -> list[Array]:
    """The values (n,) of the leaves that a split on a variable makes."""
    found = np.repeat(parent.values[None], k, axis=0)
    found[:, variable] = np.arange(k)
    return list(found)


def prove(
    search: Search,
    rule: str,
    over: Callable[[], bool],
    most_nodes: int | None = None,
    watch: Watch = unwatched,
) -> Branch:
    """Split the worst leaf until nothing better than the best found is possible, or time ends.

    Returns the root of the tree.
    """
    root = search.root(over)
    count = itertools.count()
    heap: list[tuple[float, int, Branch]] = []

    def add(branch: Branch) -> None:
        assert branch.node is not None
        heapq.heappush(heap, (-branch.node.bound, next(count), branch))

    add(root)
    while heap:
        watch(search.nodes, search.value, search.form.value_of(-heap[0][0]))
        if -heap[0][0] <= search.target or over():
            break
        if most_nodes is not None and search.nodes >= most_nodes:
            break
        branch = heapq.heappop(heap)[2]
        assert branch.node is not None
        seeds = choose_seeds(rule, branch.node, search.payoffs.k, 1, search.rng)
        if not seeds:
            break
        if search.crew is not None:
            _look_ahead(search, rule, branch.node, seeds[0], heap)
        for child in search.split(branch, seeds[0], over):
            add(child)
    return root


def _look_ahead(
    search: Search, rule: str, node: Node, variable: int, heap: list[tuple[float, int, Branch]]
) -> None:
    """Have bounded what is split now, and what will be split next as far as that is known."""
    # What is due at once is left to this process, which would wait else.
    if not search.look_ahead(node, variable, first=1) or rule == "random":
        return
    for bound, _, branch in heapq.nsmallest(MOST_AHEAD, heap):
        assert branch.node is not None
        if -bound <= search.target:
            return
        seeds = choose_seeds(rule, branch.node, search.payoffs.k, 1, search.rng)
        if seeds and not search.look_ahead(branch.node, seeds[0]):
            return


def condition(
    search: Search,
    rounds: int,
    rule: str,
    over: Callable[[], bool],
    watch: Watch = unwatched,
) -> tuple[Branch, list[int]]:
    """The tree of all values of `rounds` seeds, the same in each leaf; and the seeds.

    They are chosen by the moments of the root. One variable that symmetry fixes is none of them.
    """
    root = search.root(over)
    assert root.node is not None
    seeds = choose_seeds(rule, root.node, search.payoffs.k, rounds, search.rng)
    leaves, bound = [root], root.node.bound
    for seed in seeds:
        children: list[Branch] = []
        for leaf in leaves:
            watch(search.nodes, search.value, search.form.value_of(bound))
            children += search.split(leaf, seed, over)
        leaves = children
        bound = max(leaf.node.bound for leaf in leaves if leaf.node is not None)
    return root, seeds


def rounded(node: Node, k: int, count: int, rng: np.random.Generator) -> list[Array]:
    """Assignments (n,) along random directions of a node's moments; fixed values as they are."""
    free = np.flatnonzero(node.values < 0)
    values, Q = np.linalg.eigh(node.X.astype(np.float64))
    L = Q * np.sqrt(np.maximum(values, 0.0))
    G = L @ rng.standard_normal((L.shape[1], count))
    G = G * np.where(G[0] >= 0.0, 1.0, -1.0)
    out = []
    for column in G.T:
        x = node.values.astype(np.int64)
        own = column[1:].reshape(len(free), k - 1)
        # A sign of −1 says that the value is taken; the last one where none is.
        scores = np.hstack([-own, (own.sum(axis=1) - (k - 2) * column[0])[:, None]])
        x[free] = scores.argmax(axis=1)
        out.append(x)
    return out


@dataclass(frozen=True)
class Yardstick:
    """When a bound proves that a value is the maximum: what may lie between the two.

    Where all payoffs are whole numbers less than 1 may. Else a millionth of what the assignment is
    paid, counted so that no constant makes it larger, neither the problem's nor one that a variable
    or a pair is paid whatever the values; and less than any one constraint is about, if that is
    more than a millionth of the largest.

    step: all values are whole multiples of it (0: unknown). lowest: no value is below it. largest,
    least: of the differences within a variable's or a pair's payoffs, those above a millionth of
    the largest. lowest and `room` are without the constant.
    """

    constant: float
    step: float
    lowest: float
    largest: float
    least: float

    @classmethod
    def of(cls, payoffs: Payoffs) -> Yardstick:
        """That of a problem."""
        parts = [payoffs.unary, payoffs.tables.reshape(-1, payoffs.k**2)]
        worst = np.concatenate([part.min(axis=1) for part in parts])
        spans = np.concatenate([part.max(axis=1) for part in parts]) - worst
        largest = float(spans.max(initial=0.0))
        counted = spans[spans > _RELATIVE * largest]
        least = float(counted.min(initial=largest))
        return cls(payoffs.constant, step_of(payoffs), math.fsum(worst), largest or 1.0, least)

    def room(self, value: float) -> float:
        """What a bound may be above a value that counts as the maximum."""
        if self.step:
            return _BELOW * self.step
        paid = min(abs(value), max(value - self.lowest, 0.0))
        found = _RELATIVE * (min(self.largest, 1.0) + paid)
        return min(found, _BELOW * self.least) if self.least else found

    def proves(self, bound: float, value: float) -> bool:
        """Whether a bound proves a value to be the maximum, both with the constant."""
        # Where the constant swallows digits of both, they are not known to this.
        lost = 0.0 if self.step else math.ulp(max(abs(bound), abs(value), abs(self.constant)))
        return (bound - value) + lost <= self.room(value - self.constant)


def step_of(payoffs: Payoffs) -> float:
    """The largest step of which all values are whole multiples: whole numbers only, else 0."""
    tables = payoffs.tables.reshape(-1, payoffs.k**2)
    parts = [payoffs.unary, tables, np.array([[payoffs.constant]])]
    whole = all(np.all(part == np.floor(part)) for part in parts)
    # Below this all sums are without rounding.
    largest = sum(float(np.abs(part).max(axis=1).sum()) for part in parts)
    return 1.0 if whole and largest <= 2.0**50 else 0.0


def unit_of(payoffs: Payoffs) -> float:
    """The power of two below the largest payoff; 1 where all are zero."""
    parts = np.concatenate([payoffs.unary.ravel(), payoffs.tables.ravel()])
    largest = float(np.abs(parts).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


def certificate_of(
    search: Search, root: Branch, upper_bound: float, over: Callable[[], bool]
) -> CspCertificate:
    """The record of a tree that states this bound, its leaves compacted as far as time allows."""
    variables, nodes = _preorder(root)
    limit = _limit(search, max(node.bound for node in nodes))
    leaves = [compacted(search.form, search.pool, node, limit, over) for node in nodes]
    used = np.unique(np.concatenate([leaf.cuts for leaf in leaves]).astype(np.int64))
    cuts = search.pool.vectors(used)
    lengths = [len(leaf.cuts) for leaf in leaves]
    return CspCertificate(
        n=search.payoffs.n,
        k=search.payoffs.k,
        problem_sha256=search.payoffs.digest(),
        upper_bound=upper_bound,
        free=search.free,
        tree=np.array(variables, dtype=np.int32),
        diagonals=np.concatenate([leaf.diagonal for leaf in leaves]),
        exclusions=np.concatenate([leaf.exclusions for leaf in leaves]),
        cut_starts=cuts.starts.astype(np.int32),
        cut_entries=cuts.entries.astype(np.int32),
        cut_coefficients=cuts.coefficients.astype(np.int8),
        leaf_starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        leaf_cuts=np.concatenate([np.searchsorted(used, leaf.cuts) for leaf in leaves]).astype(
            np.int32
        ),
        multipliers=np.concatenate([leaf.multipliers for leaf in leaves]),
        format=2,
    )


def _limit(search: Search, worst: float) -> float:
    """The bound of the form that leaves may have without a change of what the tree proves."""
    if worst <= search.target:
        # The maximum is proven, as the search asks for it.
        spare = 0.0 if search.yardstick.step else 2.0 * search.yardstick.room(search.best)
        return max(worst, search.target - spare)
    if search.yardstick.step:
        # The bound that is stated is a whole number of steps.
        step = search.yardstick.step
        return max(worst, 4.0 * step * (math.floor(0.25 * worst / step) + _BELOW))
    return worst


def leaves_of(root: Branch) -> list[Node]:
    """The bounded leaves, in the tree's order."""
    return _preorder(root)[1]


def _preorder(root: Branch) -> tuple[list[int], list[Node]]:
    variables: list[int] = []
    nodes: list[Node] = []
    pending = [root]
    while pending:
        branch = pending.pop()
        variables.append(branch.variable)
        if branch.node is not None:
            nodes.append(branch.node)
        pending.extend(reversed(branch.children))
    return variables, nodes
