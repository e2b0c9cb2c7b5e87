"""Robustness of ReLU networks: what `means` has of bounds, the dual's last, then splits."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qnn.certificates.robustness.checker import specification
from qnn.certificates.robustness.question import LINEAR, Question
from qnn.certificates.robustness.record import RobustnessCertificate
from qnn.certificates.robustness.regions import Region, region_of
from qnn.certificates.robustness.relu import Bounds, EmptyBoxError
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
from qnn.robustness.means import Effort, means_of
from qnn.robustness.result import VERDICT_SLACK, Limits, Robustness, Worst, found, proven
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
        self.layers: list[tuple[Any, Array]] = list(
            zip(network.weights, network.biases, strict=True)
        )

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
        trial = Trial(self, question, region, worst, effort, limits)
        points = trial.attack(C, offsets)
        trees = [
            trial.bounded(self.margin(row, float(offset)), point)
            for row, offset, point in zip(C, offsets, points, strict=True)
        ]
        certificate = _certificate(question, trees, effort)
        size = max(1.0, abs(certificate.lower_bound), float(np.abs(worst.margin)))
        value = certificate.lower_bound
        far = limits.gap is None and value > 10.0 * VERDICT_SLACK * (size + value)
        first = VERDICT_SLACK if far and len(certificate.multipliers) else 0.0
        sure = proven(certificate, self.rows.data, size, first)
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
        region: Region,
        worst: Worst,
        effort: str,
        limits: Limits,
    ) -> None:
        self.prover, self.question, self.worst = prover, question, worst
        self.box, self.effort, self.limits = region_box(region), effort, limits
        self.means = means_of(prover.network, region, limits.solver)
        self.top = root_node(prover.layers, self.box)
        self.root = self.means.bounds(self.top)
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
        top = self._leaf(self.top, self.root, margin)
        value = top.value
        linear = self.effort in ("interval", "crown")
        if linear or value > self.target or self.over or self.expired():
            return top
        self.nodes += 1
        own = self._own_upper(margin, point)
        if own > 0.0 or self.limits.gap is not None:
            self._by_dual(top, margin, self.root)
        if self.effort == "exact":
            self._branch(top, margin, own)
            settled(top)
        return top

    def _own_upper(self, margin: Margin, point: Array) -> float:
        return float(self.prover.network.scores(point[None])[0] @ margin.row + margin.offset)

    def _leaf(self, node: Node, bounds: list[Bounds], margin: Margin) -> Leaf:
        claim = node, margin.w, margin.constant
        linear = self.effort != "interval"
        value = self.means.linear(bounds, *claim) if linear else self.means.intervals(*claim)
        return Leaf(node, value, self.means.linear_kind)

    def _by_dual(self, leaf: Leaf, margin: Margin, bounds: list[Bounds]) -> None:
        """Bound a leaf by the semidefinite dual where that is better, and say what to split."""
        gap = self.limits.gap
        effort = Effort(1e-4 if gap is None else min(1e-4, gap), self.target, self.expired)
        done = self.means.dual(bounds, leaf.node, margin.w, margin.constant, effort)
        if done.value > leaf.value:
            leaf.value, leaf.kind = done.value, self.means.dual_kind
            leaf.multipliers = done.multipliers
        leaf.wanted = done.wanted
        start = np.clip(done.point, *leaf.node.box)[None]
        ball = Ball(*self.box, self.question.norm)
        points, _ = descended(self.prover.network, ball, margin.row[None], start, 20)
        self._offer(points[0])

    def _branch(self, top: Leaf, margin: Margin, upper: float) -> None:
        """Split the worst leaf, again and again."""

        def done(value: float) -> bool:
            over = self.nodes >= self.limits.nodes or self.expired() or self.over
            least, gap = min(upper, max(self.worst.margin, -np.inf)), self.limits.gap
            close = gap is not None and least - value <= gap * abs(least)
            return over or value > self.target or close

        branch(top, lambda node: self._child(node, margin), done)

    def _child(self, node: Node, margin: Margin) -> Leaf:
        self.nodes += 1
        try:
            bounds = self.means.bounds(node)
        except EmptyBoxError:
            return Leaf(node, np.inf, self.means.linear_kind)
        leaf = self._leaf(node, bounds, margin)
        if not leaf.value > self.target:
            self._by_dual(leaf, margin, bounds)
        return leaf


def branch(top: Leaf, child: Callable[[Node], Leaf], done: Callable[[float], bool]) -> None:
    """Split the worst leaf, again and again, until its value is ``done`` or nothing splits it."""
    count = itertools.count()
    heap = [(top.value, next(count), top)]
    while heap and not done(heap[0][0]):
        _, _, leaf = heap[0]
        if leaf.wanted < 0:
            return
        heapq.heappop(heap)
        for node in split_node(leaf.node, leaf.wanted, leaf.cut):
            part = child(node)
            leaf.parts.append(part)
            heapq.heappush(heap, (part.value, next(count), part))


def settled(top: Leaf) -> None:
    """Take back the splits of a tree that have made its bound worse."""
    for leaf in reversed(preorder(top)):
        below = min((part.value for part in leaf.parts), default=leaf.value)
        if below < leaf.value:
            leaf.parts = []
        leaf.value = max(below, leaf.value)


def _certificate(question: Question, trees: list[Leaf], method: str) -> RobustnessCertificate:
    nodes = [leaf for tree in trees for leaf in preorder(tree)]
    return RobustnessCertificate(question, *tree_arrays(nodes), method=method)


def tree_arrays(nodes: list[Leaf]) -> tuple[float, Array, Array, Array]:
    """The least value of the leaves, and a certificate's splits, cuts and multipliers."""
    leaves = [leaf for leaf in nodes if not leaf.parts]
    return (
        min(leaf.value for leaf in leaves),
        np.array([leaf.wanted if leaf.parts else leaf.kind for leaf in nodes]),
        np.array([leaf.cut if leaf.parts else 0.0 for leaf in nodes]),
        np.concatenate([leaf.multipliers for leaf in leaves]),
    )


def preorder(top: Leaf) -> list[Leaf]:
    """A tree's nodes, each before its parts."""
    listed, pending = [], [top]
    while pending:
        leaf = pending.pop()
        listed.append(leaf)
        pending.extend(reversed(leaf.parts))
    return listed
