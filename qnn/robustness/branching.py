"""Branch and bound of a quadratic form on a cell: best first, nodes bounded by their best diagonal.

A node is split along the coordinate that its bound loses most on, ``k_j (1 - z_j^2)``: into its two
ends where the form is concave along it or it is a bit, else at the middle. Any state of the tree is
a proof of the least value of its leaves.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qnn.certificates.robustness.forms import Form
from qnn.certificates.robustness.quadratic import Box, children
from qnn.certificates.robustness.question import DUAL
from qnn.certificates.robustness.regions import Region
from qnn.robustness.descent import lowest_point
from qnn.robustness.duals.box_dual import best_diagonal

Array = np.ndarray


@dataclass
class Node:
    """A box with its diagonal (of the inputs that are free in it), or two children."""

    box: Box
    kappa: Array
    value: float
    point: Array
    losses: Array
    split: int = DUAL
    cut: float = 0.0
    parts: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Goal:
    """When a search may end.

    target: once the bound exceeds it. floor: once a value at or below it is found. gap: once bound
    and value are this close, relative to the value; close: or absolutely, which ends the search of
    a margin that is 0. limit: nodes. expired: asked before each node.
    """

    target: float = np.inf
    floor: float = -np.inf
    gap: float = 1e-6
    close: float = 0.0
    limit: int = 100_000
    expired: Callable[[], bool] = lambda: False


class Search:
    """The tree of one form on one cell, and the best point that was found."""

    def __init__(self, form: Form, region: Region, cell: int, point: Array) -> None:
        """``point`` (d,) is any point of the cell."""
        self.form, self.region, self.cell = form, region, cell
        self.point, self.upper = point, value_at(form, point)
        self.root = self._interval((region.low[cell], region.high[cell]))
        self.nodes = 0

    @property
    def lower(self) -> float:
        """What the leaves bound, before rounding errors."""
        return min(leaf.value for leaf in leaves(self.root))

    def offer(self, point: Array, value: float) -> None:
        """Keep a point of the cell if it is the best so far."""
        if value < self.upper:
            self.point, self.upper = point, value

    def bound_root(self, goal: Goal) -> None:
        """Find the root's best diagonal, and descend from the point that it suggests."""
        self.root = self._bounded(self.root.box, goal)

    def run(self, goal: Goal) -> None:
        """Split until the goal is reached."""
        count = itertools.count()
        heap = [(leaf.value, next(count), leaf) for leaf in leaves(self.root)]
        heapq.heapify(heap)
        while heap and self.nodes < goal.limit and not goal.expired():
            value, _, node = heap[0]
            if value > goal.target or self.upper <= goal.floor or self._closed(value, goal):
                return
            heapq.heappop(heap)
            if not self._split(node, goal):
                return
            for part in node.parts:
                heapq.heappush(heap, (part.value, next(count), part))

    def _closed(self, value: float, goal: Goal) -> bool:
        return self.upper - value <= goal.gap * abs(self.upper) + goal.close

    def _split(self, node: Node, goal: Goal) -> bool:
        """Split a leaf; False where nothing in it is free."""
        j = int(np.argmax(node.losses))
        low, high = node.box
        if not low[j] < high[j]:
            return False
        ends = self.region.chains[j] >= 0 or self.form.concave(j)
        middle = 0.5 * low[j] + 0.5 * high[j]
        if not ends and not low[j] < middle < high[j]:
            return False
        node.split, node.cut = j, np.nan if ends else middle
        node.parts = [
            self._bounded(box, goal)
            for box in children(self.region, self.form, node.box, j, node.cut)
        ]
        return True

    def _bounded(self, box: Box, goal: Goal) -> Node:
        self.nodes += 1
        form = self.form.on_box(*box)
        signs = self.region.chains[form.free] >= 0
        # Where nothing is asked for but a bound, the best one.
        known = self.upper if goal.limit else np.inf
        needed = goal.target + 1e-9 * (abs(goal.target) + abs(form.c))
        found = best_diagonal(form, signs, target=needed, known=known)
        point = np.clip(0.5 * box[0] + 0.5 * box[1], *box)
        width = 0.5 * (box[1] - box[0])[form.free]
        point[form.free] = np.clip(point[form.free] + width * found.z, *(e[form.free] for e in box))
        self.offer(*lowest_point(self.form, *box, self.region.chains, point[None]))
        losses = np.full(len(point), -1.0)
        losses[form.free] = np.abs(found.kappa) * (1.0 - found.z**2) + 1e-12
        return Node(box, found.kappa, found.value, point, losses)

    def _interval(self, box: Box) -> Node:
        """The leaf that interval arithmetic bounds: a diagonal of row sums dominates the form."""
        form = self.form.on_box(*box)
        kappa = row_sums(form.g, form.H)
        value = form.c - 0.5 * float(kappa.sum() + np.abs(form.g).sum())
        losses = np.full(len(box[0]), -1.0)
        losses[form.free] = kappa
        return Node(box, kappa, value, 0.5 * box[0] + 0.5 * box[1], losses)


def row_sums(g: Array, H: Array) -> Array:
    """The diagonal that makes the form's matrix diagonally dominant."""
    off = np.abs(H).sum(axis=1) - np.abs(H.diagonal())
    return np.asarray(np.maximum(np.abs(g) + off - H.diagonal(), 0.0))


def value_at(form: Form, x: Array) -> float:
    """The form's value, not proven."""
    return form.constant + float(form.linear @ x + x @ (form.A @ x))


def leaves(root: Node) -> list[Node]:
    """The leaves of a tree in preorder."""
    return [node for node in preorder(root) if node.split == DUAL]


def preorder(root: Node) -> list[Node]:
    """The nodes of a tree, each before its parts."""
    found, pending = [], [root]
    while pending:
        node = pending.pop()
        found.append(node)
        pending.extend(reversed(node.parts))
    return found
