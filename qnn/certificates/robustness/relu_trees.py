"""Trees that prove a margin of a ReLU network: their leaves are boxes with signs of some neurons.

A node splits an input at a number, or fixes the sign of a neuron's y: first ``y <= 0``, then
``y >= 0``. A leaf is proven by its linear bounds alone, by the multipliers of its Lagrangian, or
because no input has its signs. An ellipsoid (l2) is bounded by the box around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qnn.certificates.robustness.forms import prove_at_least
from qnn.certificates.robustness.question import DUAL, LINEAR
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
    size = np.abs(W) @ np.abs(row)
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
        self, layers: list[Layer], region: Region, splits: Array, cuts: Array, multipliers: Array
    ) -> None:
        if splits.shape != cuts.shape:
            raise CertificateError("each split needs its cut")
        self.layers, self.box = layers, region_box(region)
        self.splits, self.cuts, self.multipliers = splits, cuts, multipliers
        self.node = self.number = 0
        self._root: list[Bounds] | None = None

    def prove(self, row: Array, offset: float, bound: float, margin: float) -> None:
        """Read the next tree and prove that ``row'f(x) + offset`` is at least ``bound``."""
        pending = [root_node(self.layers, self.box)]
        while pending:
            node = pending.pop()
            if self.node >= len(self.splits):
                raise CertificateError("the tree ends before it covers the region")
            split, cut = int(self.splits[self.node]), float(self.cuts[self.node])
            self.node += 1
            if split >= 0:
                pending.extend(reversed(split_node(node, split, cut)))
            elif split in (DUAL, LINEAR):
                self._prove_leaf(node, split, (row, offset, bound, margin))
            else:
                raise CertificateError("a leaf is of no known kind")

    def finished(self) -> None:
        """Raise CertificateError unless everything was read."""
        if self.node != len(self.splits) or self.number != len(self.multipliers):
            raise CertificateError("there are more leaves or multipliers than trees")

    def _prove_leaf(self, node: Node, kind: int, claim: tuple[Array, float, float, float]) -> None:
        row, offset, bound, margin = claim
        hidden = self.layers[:-1]
        try:
            bounds = self._bounds(node)
        except EmptyBoxError:
            if not any(sign.any() for sign in node.signs):
                raise CertificateError("the bounds of the neurons contradict each other") from None
            return
        w, constant, w_error, constant_error = folded(self.layers, row, offset)
        last = np.maximum(bounds[-1][1], 0.0) if hidden else np.abs(self.box).max(axis=0)
        error = (float(w_error @ last) + constant_error) * (1.0 + gamma(2 * len(last) + 10))
        if kind == LINEAR:
            found = least_margin(hidden, bounds, node.box, w, constant)
            if not math.nextafter(found - margin * error, -math.inf) >= bound:
                raise CertificateError(f"its linear bounds prove {float(found - error)!r} only")
            return
        system = substituted(hidden, bounds, node.box, w, constant, node.signs)
        count = sum(system.lengths)
        self.number += count
        if self.number > len(self.multipliers):
            raise CertificateError("multipliers are missing")
        form, kappa = lagrangian(system, self.multipliers[self.number - count : self.number])
        prove_at_least(bound, form.widened(error), kappa, 0.0, margin)

    def _bounds(self, node: Node) -> list[Bounds]:
        """Of the root they are the same for all margins."""
        if any(sign.any() for sign in node.signs) or node.box is not self.box:
            return neuron_bounds(self.layers[:-1], node.box, node.signs)
        if self._root is None:
            self._root = neuron_bounds(self.layers[:-1], node.box)
        return self._root


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
