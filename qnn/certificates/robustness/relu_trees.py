"""Trees that prove a margin of a ReLU network: their leaves are boxes with signs of some neurons.

A node splits an input at a number, or fixes the sign of a neuron's y: first ``y <= 0``, then
``y >= 0``. A leaf is proven by its linear bounds alone, by the multipliers of its Lagrangian, or
because no input has its signs. Proven layer by layer (`structured`), a leaf of an ellipsoid (l2)
is that ellipsoid, else the box around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from qnn.certificates.robustness.forms import middle_and_radius, prove_at_least
from qnn.certificates.robustness.question import DUAL, LAYERED_DUAL, LAYERED_LINEAR, LINEAR
from qnn.certificates.robustness.regions import Region
from qnn.certificates.robustness.relu import (
    Bounds,
    EmptyBoxError,
    Layer,
    lagrangian,
    least_margin,
    neuron_bounds,
    substituted,
)
from qnn.certificates.robustness.structured import bounds as layered
from qnn.certificates.robustness.structured.form import Stack
from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, UNIT, gamma

Array = np.ndarray


@dataclass(frozen=True)
class Node:
    """A box and the signs that splits have chosen, of each hidden layer (n,) int8."""

    box: Bounds
    signs: list[Array]


def folded(layers: list[Layer], row: Array, offset: float) -> tuple[Array, float, Array, float]:
    """The margin as ``w'x + constant`` of the last hidden layer, and the errors of both."""
    W, b = layers[-1]
    share = gamma(2 * len(b) + 20)
    size = abs(W) @ np.abs(row)
    lost = len(b) * TINY * (1.0 + float(np.abs(row).max()))
    constant = float(b @ row) + offset
    size_of_constant = float(np.abs(b) @ np.abs(row)) + abs(offset)
    return W @ row, constant, share * size + lost, share * size_of_constant + lost


def region_box(region: Region) -> Bounds:
    """The one box of a region without categories, around the ellipsoid where it is one."""
    low, high = region.low[0], region.high[0]
    if not region.axes.any():
        return low, high
    wide = region.axes + 4.0 * UNIT * (np.abs(low) + region.axes)
    still = region.axes == 0.0
    return np.where(still, low, low - wide), np.where(still, high, high + wide)


class ReluLeaves:
    """Reads the trees of a certificate and proves their leaves, one margin after the other."""

    def __init__(
        self,
        layers: list[tuple[Any, Array]],
        region: Region,
        splits: Array,
        cuts: Array,
        multipliers: Array,
    ) -> None:
        if splits.shape != cuts.shape:
            raise CertificateError("each split needs its cut")
        self.layers, self.region, self.box = layers, region, region_box(region)
        self.sparse = any(sparse.issparse(W) for W, _ in layers)
        self.splits, self.cuts, self.multipliers = splits, cuts, multipliers
        self.node = self.number = 0
        self._root: dict[bool, list[Bounds]] = {}

    def prove(self, row: Array, offset: float, bound: float, margin: float) -> None:
        """Read the next tree and prove that ``row'f(x) + offset`` is at least ``bound``."""
        self._covered(lambda node, kind: self._proven(node, kind, (row, offset, bound, margin)))

    def _covered(self, prove: Callable[[Node, int], None]) -> None:
        """Read the next tree and prove its leaves, each of which is told its kind."""
        pending = [root_node(self.layers, self.box)]
        while pending:
            node = pending.pop()
            if self.node >= len(self.splits):
                raise CertificateError("the tree ends before it covers the region")
            split, cut = int(self.splits[self.node]), float(self.cuts[self.node])
            self.node += 1
            if split >= 0:
                pending.extend(reversed(split_node(node, split, cut)))
            else:
                prove(node, split)

    def _proven(self, node: Node, kind: int, claim: tuple[Array, float, float, float]) -> None:
        if kind in (LAYERED_DUAL, LAYERED_LINEAR):
            self._prove_layered(node, kind, claim)
        elif kind in (DUAL, LINEAR) and not self.sparse:
            self._prove_leaf(node, kind, claim)
        else:
            raise CertificateError("a leaf is of no known kind")

    def finished(self) -> None:
        """Raise CertificateError unless everything was read."""
        if self.node != len(self.splits) or self.number != len(self.multipliers):
            raise CertificateError("there are more leaves or multipliers than trees")

    def _prove_leaf(self, node: Node, kind: int, claim: tuple[Array, float, float, float]) -> None:
        row, offset, bound, margin = claim
        hidden = self.layers[:-1]
        bounds = self._bounds(node, lambda: neuron_bounds(hidden, node.box, node.signs), False)
        if bounds is None:
            return
        w, constant, error = self._folded(row, offset, bounds)
        if kind == LINEAR:
            found = least_margin(hidden, bounds, node.box, w, constant)
            _compare(found, margin * error, bound)
            return
        system = substituted(hidden, bounds, node.box, w, constant, node.signs)
        form, kappa = lagrangian(system, self._take(sum(system.lengths)))
        prove_at_least(bound, form.widened(error), kappa, 0.0, margin)

    def _prove_layered(
        self, node: Node, kind: int, claim: tuple[Array, float, float, float]
    ) -> None:
        row, offset, bound, margin = claim
        hidden = layered.sparse_layers(self.layers[:-1])
        inputs = layered_inputs(self.region, node)
        bounds = self._bounds(node, lambda: layered.neuron_bounds(hidden, inputs, node.signs), True)
        if bounds is None:
            return
        w, constant, error = self._folded(row, offset, bounds)
        if kind == LAYERED_LINEAR:
            found = layered.least_margin(hidden, bounds, inputs, w, constant)
            _compare(found, margin * error, bound)
            return
        stack = Stack(hidden, bounds, inputs, w, constant)
        stack.prove_at_least(bound, self._take(stack.count), error, margin)

    def _folded(
        self, row: Array, offset: float, bounds: list[Bounds]
    ) -> tuple[Array, float, float]:
        """The margin on the last hidden layer, and what it is off in all."""
        w, constant, w_error, constant_error = folded(self.layers, row, offset)
        last = np.maximum(bounds[-1][1], 0.0) if bounds else np.abs(self.box).max(axis=0)
        error = (float(w_error @ last) + constant_error) * (1.0 + gamma(2 * len(last) + 10))
        return w, constant, error

    def _take(self, count: int) -> Array:
        self.number += count
        if self.number > len(self.multipliers):
            raise CertificateError("multipliers are missing")
        return self.multipliers[self.number - count : self.number]

    def _bounds(
        self, node: Node, compute: Callable[[], list[Bounds]], layer_by_layer: bool
    ) -> list[Bounds] | None:
        """Of the root they are the same for all margins; None where no input has the signs."""
        signed = any(sign.any() for sign in node.signs)
        root = not signed and node.box is self.box
        if root and layer_by_layer in self._root:
            return self._root[layer_by_layer]
        try:
            bounds = compute()
        except EmptyBoxError:
            if not signed:
                raise CertificateError("the bounds of the neurons contradict each other") from None
            return None
        if root:
            self._root[layer_by_layer] = bounds
        return bounds


def _compare(found: float, error: float, bound: float) -> None:
    # Only what overflows seems to be infinite.
    proven = found - error < math.inf and math.nextafter(found - error, -math.inf) >= bound
    if not proven:
        raise CertificateError(f"its linear bounds prove {float(found - error)!r} only")


def layered_inputs(region: Region, node: Node) -> layered.Inputs:
    """What a node's inputs are, layer by layer: its box, or the ellipsoid whole."""
    if not region.axes.any():
        return layered.Inputs(*middle_and_radius(*node.box), ball=False)
    box = region_box(region)
    if any(np.any(own != whole) for own, whole in zip(node.box, box, strict=True)):
        raise CertificateError("the inputs of an ellipsoid are not split")
    return layered.Inputs(region.low[0], region.axes, ball=True)


def root_node(layers: list[Layer], box: Bounds) -> Node:
    """The node of a whole box: no sign is chosen."""
    return Node(box, [np.zeros(len(b), dtype=np.int8) for _, b in layers[:-1]])


def split_node(node: Node, split: int, cut: float) -> list[Node]:
    """The two nodes that cover a node; CertificateError where they do not."""
    low, high = node.box
    if split < len(low):
        if not low[split] <= cut <= high[split]:
            raise CertificateError("a split lies outside its box")
        lower, upper = high.copy(), low.copy()
        lower[split] = upper[split] = cut
        return [Node((low, lower), node.signs), Node((upper, high), node.signs)]
    split -= len(low)
    for layer, signs in enumerate(node.signs):
        if split < len(signs):
            return [_with_sign(node, layer, split, sign) for sign in (-1, 1)]
        split -= len(signs)
    raise CertificateError("a split is of no neuron")


def _with_sign(node: Node, layer: int, neuron: int, sign: int) -> Node:
    signs = node.signs.copy()
    signs[layer] = signs[layer].copy()
    signs[layer][neuron] = sign
    return Node(node.box, signs)
