"""What bounds a node of a ReLU network's tree: two solvers of the dual behind one face.

`SecondOrder` substitutes decided neurons and takes interior point steps, exact to many digits, in
memory that grows with the square of the neurons that are left. `FirstOrder` works layer by layer in
memory linear in the network, takes sparse layers, and balls as balls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from qnn.certificates.robustness import relu
from qnn.certificates.robustness.question import DUAL, LAYERED_DUAL, LAYERED_LINEAR, LINEAR
from qnn.certificates.robustness.regions import Region
from qnn.certificates.robustness.relu_trees import Node, layered_inputs, region_box
from qnn.certificates.robustness.structured import bounds as layered
from qnn.certificates.robustness.structured.form import Stack
from qnn.errors import InputError
from qnn.networks.layered import LayeredNetwork
from qnn.robustness.duals.first_order import STEPS, ascend
from qnn.robustness.duals.interior_point import Solved, solve

Array = np.ndarray
Bounds = relu.Bounds

SOLVERS = ("auto", "second_order", "first_order")
# A network of more inputs and neurons, or of more neurons, is left to the first-order solver.
_MOST_VARIABLES, _MOST_NEURONS = 6_000, 4_000


@dataclass(frozen=True)
class Found:
    """A bound by the dual, its multipliers, an input to attack from, the neuron to split or -1."""

    value: float
    multipliers: Array
    point: Array
    wanted: int


@dataclass(frozen=True)
class Effort:
    """When the dual is good enough: relative tolerance, a bound that is enough, the time."""

    tol: float
    target: float
    expired: Callable[[], bool]


class Means(Protocol):
    """Bounds of the nodes of one question; w, constant: a margin on the last hidden layer."""

    linear_kind: int
    dual_kind: int

    def bounds(self, node: Node) -> list[Bounds]:
        """Of all hidden neurons; EmptyBoxError where no input has the node's signs."""

    def intervals(self, node: Node, w: Array, constant: float) -> float:
        """The margin's bound by interval arithmetic alone."""

    def linear(self, bounds: list[Bounds], node: Node, w: Array, constant: float) -> float:
        """The margin's bound by linear bounds, too."""

    def dual(
        self, bounds: list[Bounds], node: Node, w: Array, constant: float, effort: Effort
    ) -> Found:
        """The margin's bound by the semidefinite dual."""


def means_of(network: LayeredNetwork, region: Region, solver: str) -> Means:
    """The solver of a name; "auto": second order of dense networks of moderate size in a box.

    solver: one of SOLVERS. InputError for the second-order one of a sparse network.
    """
    large = network.hidden > _MOST_NEURONS or network.d + network.hidden > _MOST_VARIABLES
    ball = bool(region.axes.any())
    if solver == "second_order" and network.sparse:
        raise InputError("solver second_order does not take sparse layers: leave it to auto")
    if solver == "second_order" or (solver == "auto" and not (large or ball or network.sparse)):
        return SecondOrder(network, region)
    return FirstOrder(network, region)


class SecondOrder:
    """Dense: interval, linear bounds, interior point; an ellipsoid is bounded by its box."""

    linear_kind, dual_kind = LINEAR, DUAL

    def __init__(self, network: LayeredNetwork, region: Region) -> None:
        self.hidden = list(zip(network.weights[:-1], network.biases[:-1], strict=True))
        self.box = region_box(region)

    def bounds(self, node: Node) -> list[Bounds]:
        """See `Means`."""
        return relu.neuron_bounds(self.hidden, node.box, node.signs)

    def intervals(self, node: Node, w: Array, constant: float) -> float:
        """See `Means`."""
        if not self.hidden:
            return relu.least_margin([], [], node.box, w, constant)
        low, high = node.box
        for layer in self.hidden:
            low, high = (np.maximum(end, 0.0) for end in relu.interval_layer(layer, low, high))
        last = w[:, None], np.array([constant])
        return float(relu.interval_layer(last, low, high)[0][0])

    def linear(self, bounds: list[Bounds], node: Node, w: Array, constant: float) -> float:
        """See `Means`."""
        return relu.least_margin(self.hidden, bounds, node.box, w, constant)

    def dual(
        self, bounds: list[Bounds], node: Node, w: Array, constant: float, effort: Effort
    ) -> Found:
        """See `Means`."""
        system = relu.substituted(self.hidden, bounds, node.box, w, constant, node.signs)
        solved = solve(system, effort.tol, effort.target, expired=effort.expired)
        moves = np.flatnonzero(node.box[0] < node.box[1])
        point = 0.5 * (node.box[0] + node.box[1])
        point[moves] += (system.r * solved.z)[: len(moves)]
        wanted = wanted_neuron(node, bounds, system, solved)
        return Found(solved.value, solved.multipliers, point, wanted)


def wanted_neuron(node: Node, bounds: list[Bounds], system: relu.System, solved: Solved) -> int:
    """What to split: the neuron whose two answers the dual holds apart most; -1 for nothing."""
    either = [np.flatnonzero((lo < 0.0) & (u > 0.0)) for lo, u in bounds]
    inputs, h = len(node.box[0]), len(system.y0)
    if not h:
        return -1
    n = len(system.m)
    x = system.m[n - h :] + system.r[n - h :] * solved.z[n - h :]
    y = system.y0 + system.Y.T @ solved.z
    _, product, above, positive, _ = np.split(solved.multipliers, np.cumsum(system.lengths)[:-1])
    score = _score(x, y, np.abs(product) * (x + np.abs(y)) + above + positive)
    starts = np.cumsum([inputs, *(len(lo) for lo, _ in bounds[:-1])])
    places = np.concatenate([at + k for at, k in zip(starts, either, strict=True)])
    return int(places[int(np.argmax(score))])


def _score(x: Array, y: Array, weight: Array) -> Array:
    return np.maximum(x - np.maximum(y, 0.0), 0.0) * (weight + 1e-12) + 1e-9 * weight


class FirstOrder:
    """Layer by layer: sparse products, eigenvectors; an ellipsoid stays one."""

    linear_kind, dual_kind = LAYERED_LINEAR, LAYERED_DUAL

    def __init__(self, network: LayeredNetwork, region: Region) -> None:
        layers: list[tuple[Any, Array]] = list(zip(network.weights, network.biases, strict=True))
        self.hidden, self.region = layered.sparse_layers(layers[:-1]), region

    def bounds(self, node: Node) -> list[Bounds]:
        """See `Means`."""
        return layered.neuron_bounds(self.hidden, layered_inputs(self.region, node), node.signs)

    def intervals(self, node: Node, w: Array, constant: float) -> float:
        """See `Means`."""
        last = layered_inputs(self.region, node)
        for layer in self.hidden:
            last = layered.after(layered.interval_layer(layer, last))
        return layered.least_margin([], [], last, w, constant)

    def linear(self, bounds: list[Bounds], node: Node, w: Array, constant: float) -> float:
        """See `Means`."""
        inputs = layered_inputs(self.region, node)
        return layered.least_margin(self.hidden, bounds, inputs, w, constant)

    def dual(
        self, bounds: list[Bounds], node: Node, w: Array, constant: float, effort: Effort
    ) -> Found:
        """See `Means`."""
        inputs = layered_inputs(self.region, node)
        stack = Stack(self.hidden, bounds, inputs, w, constant)
        steps = STEPS if np.isfinite(effort.target) else 2 * STEPS
        done = ascend(stack, effort.target, steps, effort.expired)
        point = inputs.m + inputs.r * done.z[: stack.d]
        wanted = -1
        either = np.concatenate([np.zeros(0, bool), *stack.either])
        if either.any() and np.isfinite(done.value):
            k = stack.read(done.multipliers)
            z = np.split(done.z, stack.at[1:-1])
            X = [m + r * part for m, r, part in zip(stack.m, stack.r, z, strict=True)]
            Y = [M @ x + b for (M, b), x in zip(self.hidden, X[:-1], strict=True)]
            x, y = np.concatenate(X[1:]), np.concatenate(Y)
            weight = np.abs(k.product) * (x + np.abs(y)) + np.abs(k.above) + k.positive
            score = np.where(either, _score(x, y, weight + k.triangle), -1.0)
            wanted = stack.d + int(np.argmax(score))
        return Found(done.value, done.multipliers, point, wanted)
