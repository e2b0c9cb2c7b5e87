"""Robustness of ReLU networks: intervals, linear bounds, the semidefinite dual, then splits."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qnn.certificates.robustness.checker import specification
from qnn.certificates.robustness.question import DUAL, LINEAR, Question
from qnn.certificates.robustness.record import RobustnessCertificate
from qnn.certificates.robustness.regions import region_of
from qnn.certificates.robustness.relu import (
    Bounds,
    EmptyBoxError,
    Layer,
    System,
    interval_layer,
    least_margin,
    neuron_bounds,
    substituted,
)
from qnn.certificates.robustness.relu_trees import (
    Node,
    folded,
    region_box,
    root_node,
    split_node,
)
from qnn.errors import CertificateError, InputError
from qnn.networks.layered import LayeredNetwork
from qnn.robustness.attacks import Ball, descended
from qnn.robustness.duals.interior_point import Solved, solve
from qnn.robustness.result import Limits, Robustness, Worst, found, proven
from qnn.robustness.threat import Rows, raw_point

Array = np.ndarray
_STARTS = 8


@dataclass
class Leaf:
    """A node of a tree: its box and signs, what bounds it, or the nodes that cover it."""

    node: Node
    value: float
    kind: int = LINEAR
    multipliers: Array = field(default_factory=lambda: np.zeros(0))
    wanted: int = -1
    cut: float = 0.0
    parts: list[Leaf] = field(default_factory=list)


@dataclass(frozen=True)
class Margin:
    """One margin of a question, ``row'f(x) + offset``, its weights on the last hidden layer."""

    row: Array
    offset: float
    w: Array
    constant: float


class ReluProver:
    """Certifies rows of one ReLU network."""

    def __init__(self, network: LayeredNetwork) -> None:
        self.network, self.rows = network, Rows(network)
        self.layers: list[Layer] = list(zip(network.weights, network.biases, strict=True))

    def certify(self, question: Question, effort: str, limits: Limits) -> Robustness:
        """Both bounds of the question's worst margin, by the means of an effort."""
        with np.errstate(all="ignore"):
            try:
                return self._certify(question, effort, limits, time.process_time())
            except CertificateError as error:
                raise InputError(f"robustness: {error}") from None

    def _certify(self, question: Question, effort: str, limits: Limits, start: float) -> Robustness:
        region = region_of(question, "", self.network.d)
        C, offsets = specification(question, self.network.outputs == 1, self.network.outputs)
        worst = Worst(self.rows, question, C, offsets)
        trial = Trial(self, question, region_box(region), worst, effort, limits)
        points = trial.attack(C, offsets)
        trees = [
            trial.bounded(self.margin(row, float(offset)), point)
            for row, offset, point in zip(C, offsets, points, strict=True)
        ]
        certificate = _certificate(question, trees, effort)
        size = max(1.0, abs(certificate.lower_bound), float(np.abs(worst.margin)))
        sure = proven(certificate, self.rows.data, size)
        return found(worst, sure, trial.nodes, start)

    def margin(self, row: Array, offset: float) -> Margin:
        """A margin in terms of the last hidden layer."""
        w, constant, _, _ = folded(self.layers, row, offset)
        return Margin(row, offset, w, constant)


class Trial:
    """One question of one network: its bounds of the root, and the work that is left."""

    def __init__(
        self,
        prover: ReluProver,
        question: Question,
        box: Bounds,
        worst: Worst,
        effort: str,
        limits: Limits,
    ) -> None:
        self.prover, self.question, self.box, self.worst = prover, question, box, worst
        self.effort, self.limits = effort, limits
        self.hidden = prover.layers[:-1]
        self.root = neuron_bounds(self.hidden, box)
        self.expired: Callable[[], bool] = limits.clock()
        self.nodes = 0
        # Above 0 by more than a proof gives up.
        size = 1.0 + float(np.abs(prover.network.biases[-1]).max()) + abs(worst.margin)
        self.target = np.inf if limits.gap is not None else 1e-7 * size

    def attack(self, C: Array, offsets: Array) -> Array:
        """The worst input found for each margin (K, d); the worst of all is kept as a raw row."""
        ball = Ball(*self.box, self.question.norm)
        rng = np.random.default_rng(0)
        low, high = self.box
        starts = np.vstack([ball.middle, rng.uniform(low, high, size=(_STARTS - 1, len(low)))])
        points, values = descended(self.prover.network, ball, C, starts)
        self._offer(points[int(np.argmin(values + offsets))])
        return points

    def _offer(self, point: Array) -> None:
        row = raw_point(self.prover.rows, self.question, point)
        self.worst.offer(row[None], [()])

    @property
    def over(self) -> bool:
        """Whether a verdict is all that is wanted, and there is one."""
        return self.limits.gap is None and self.worst.breaks

    def bounded(self, margin: Margin, point: Array) -> Leaf:
        """The tree of one margin, as far as the effort and the limits go."""
        value = self._linear(self.root, self.box, margin)
        top = Leaf(root_node(self.prover.layers, self.box), value)
        linear = self.effort in ("interval", "crown")
        if linear or value > self.target or self.over or self.expired():
            return top
        self.nodes += 1
        own = self._own_upper(margin, point)
        if own > 0.0 or self.limits.gap is not None:
            self._by_dual(top, margin, self.root)
        if self.effort == "exact":
            self._branch(top, margin, own)
        return top

    def _own_upper(self, margin: Margin, point: Array) -> float:
        return float(self.prover.network.scores(point[None])[0] @ margin.row + margin.offset)

    def _linear(self, bounds: list[Bounds], box: Bounds, margin: Margin) -> float:
        if self.effort == "interval" and self.hidden:
            low, high = box
            for layer in self.hidden:
                low, high = (np.maximum(end, 0.0) for end in interval_layer(layer, low, high))
            last = margin.w[:, None], np.array([margin.constant])
            return float(interval_layer(last, low, high)[0][0])
        return least_margin(self.hidden, bounds, box, margin.w, margin.constant)

    def _by_dual(self, leaf: Leaf, margin: Margin, bounds: list[Bounds]) -> None:
        """Bound a leaf by the semidefinite dual where that is better, and say what to split."""
        system = substituted(
            self.hidden, bounds, leaf.node.box, margin.w, margin.constant, leaf.node.signs
        )
        gap = self.limits.gap
        tol = 1e-4 if gap is None else min(1e-4, gap)
        solved = solve(system, tol, self.target, expired=self.expired)
        if solved.value > leaf.value:
            leaf.value, leaf.kind, leaf.multipliers = solved.value, DUAL, solved.multipliers
        leaf.wanted, leaf.cut = self._choice(leaf.node, bounds, system, solved)
        moves = np.flatnonzero(leaf.node.box[0] < leaf.node.box[1])
        point = 0.5 * (leaf.node.box[0] + leaf.node.box[1])
        point[moves] += (system.r * solved.z)[: len(moves)]
        start = np.clip(point, *leaf.node.box)[None]
        ball = Ball(*self.box, self.question.norm)
        points, _ = descended(self.prover.network, ball, margin.row[None], start, 20)
        self._offer(points[0])

    def _choice(
        self, node: Node, bounds: list[Bounds], system: System, solved: Solved
    ) -> tuple[int, float]:
        """What to split: the neuron whose two answers the dual holds apart most; -1 for nothing."""
        either = [np.flatnonzero((lo < 0.0) & (u > 0.0)) for lo, u in bounds]
        inputs, h = len(node.box[0]), len(system.y0)
        if not h:
            return -1, 0.0
        n = len(system.m)
        x = system.m[n - h :] + system.r[n - h :] * solved.z[n - h :]
        y = system.y0 + system.Y.T @ solved.z
        apart = x - np.maximum(y, 0.0)
        _, product, above, positive, _ = np.split(
            solved.multipliers, np.cumsum(system.lengths)[:-1]
        )
        weight = np.abs(product) * (x + np.abs(y)) + above + positive
        score = np.maximum(apart, 0.0) * (weight + 1e-12) + 1e-9 * weight
        starts = np.cumsum([inputs, *(len(lo) for lo, _ in bounds[:-1])])
        places = np.concatenate([at + k for at, k in zip(starts, either, strict=True)])
        return int(places[int(np.argmax(score))]), 0.0

    def _branch(self, top: Leaf, margin: Margin, upper: float) -> None:
        """Split the worst leaf, again and again."""
        count = itertools.count()
        heap = [(top.value, next(count), top)]
        while heap and self.nodes < self.limits.nodes and not self.expired() and not self.over:
            value, _, leaf = heap[0]
            gap = self.limits.gap
            upper = min(upper, max(self.worst.margin, -np.inf))
            done = value > self.target or (gap is not None and upper - value <= gap * abs(upper))
            if done or leaf.wanted < 0:
                return
            heapq.heappop(heap)
            for node in split_node(leaf.node, leaf.wanted, leaf.cut):
                part = self._child(node, margin)
                leaf.parts.append(part)
                heapq.heappush(heap, (part.value, next(count), part))
            leaf.kind = leaf.wanted

    def _child(self, node: Node, margin: Margin) -> Leaf:
        self.nodes += 1
        try:
            bounds = neuron_bounds(self.hidden, node.box, node.signs)
        except EmptyBoxError:
            return Leaf(node, np.inf)
        leaf = Leaf(node, self._linear(bounds, node.box, margin))
        if not leaf.value > self.target:
            self._by_dual(leaf, margin, bounds)
        return leaf


def _certificate(question: Question, trees: list[Leaf], method: str) -> RobustnessCertificate:
    nodes = [leaf for tree in trees for leaf in _preorder(tree)]
    leaves = [leaf for leaf in nodes if leaf.kind < 0]
    return RobustnessCertificate(
        question=question,
        lower_bound=min(leaf.value for leaf in leaves),
        splits=np.array([leaf.kind for leaf in nodes], dtype=np.int64),
        cuts=np.array([leaf.cut for leaf in nodes]),
        multipliers=np.concatenate([leaf.multipliers for leaf in leaves]),
        method=method,
    )


def _preorder(top: Leaf) -> list[Leaf]:
    listed, pending = [], [top]
    while pending:
        leaf = pending.pop()
        listed.append(leaf)
        pending.extend(reversed(leaf.parts))
    return listed
