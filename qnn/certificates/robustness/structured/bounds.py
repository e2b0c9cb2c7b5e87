"""Linear bounds of the neurons of a network whose layers are sparse, as `relu` has them of others.

A layer is ``y = M x + b``, M (outputs, inputs) in compressed rows: a convolution has as many
entries as its kernel at each place. Inputs are ``m + r z`` with ``|z| <= 1`` in each coordinate;
in a ball ``z'z <= 1`` too, and then a linear function ``a'x`` is within ``|a o r|_2`` of ``a'm``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from qnn.certificates.robustness.relu import Bounds, on_their_side, relaxed
from qnn.numerics.floating import TINY, gamma

Array = np.ndarray
SparseLayer = tuple[Any, Array]

# Neurons whose linear bounds are carried backwards at once.
_AT_ONCE = 256


@dataclass(frozen=True)
class Inputs:
    """``x = m + r z``, m, r (d,), r >= 0; ``|z| <= 1`` each, and of a ball ``z'z <= 1``."""

    m: Array
    r: Array
    ball: bool

    @property
    def reach(self) -> Array:
        """The largest |x|."""
        return np.abs(self.m) + self.r

    def spread(self, A: Any) -> Array:
        """At least nearly the largest ``A (x - m)``, each row of A its own; see `underflow`."""
        if not self.ball:
            return np.asarray(abs(A) @ self.r)
        scaled = A.copy()
        scaled.data = (A.data * self.r[A.indices]) ** 2
        return np.sqrt(np.asarray(scaled.sum(axis=1)).ravel())

    @property
    def underflow(self) -> float:
        """More than `spread` loses by squares that are too small for float64."""
        return 4.0 * math.sqrt((len(self.m) + 1.0) * TINY) if self.ball else 0.0


def sparse_layers(layers: list[tuple[Any, Array]]) -> list[SparseLayer]:
    """Layers (W (inputs, outputs), b), dense or sparse, as (M, b) in compressed rows."""
    return [(sparse.csr_array(W.T), b) for W, b in layers]


def linear_bound(
    layers: list[SparseLayer], bounds: list[Bounds], inputs: Inputs, A: Any, c: Array
) -> Array:
    """Upper bounds (q,) of ``A x + c``, x the last of the given layers; A (q, n) sparse."""
    for index in range(len(layers) - 1, -1, -1):
        (M, b), (lo, u) = layers[index], bounds[index]
        reach = inputs.reach if index == 0 else np.maximum(bounds[index - 1][1], 0.0)
        upper, lower, lift = relaxed(lo, u)
        A = sparse.csr_array(A)
        above = np.where(A.data > 0.0, A.data, 0.0)
        slope = sparse.csr_array(
            (above * upper[A.indices] + (A.data - above) * lower[A.indices], A.indices, A.indptr),
            shape=A.shape,
        )
        lifted = sparse.csr_array((above, A.indices, A.indptr), shape=A.shape) @ lift
        size = abs(slope) @ (abs(M) @ reach + np.abs(b)) + lifted + np.abs(c)
        c = c + lifted + slope @ b
        c = c + gamma(2 * len(b) + M.shape[1] + 20) * size + lost(M, reach)
        A = slope @ M
    A = sparse.csr_array(A)
    value, wide = A @ inputs.m, inputs.spread(A)
    size = abs(A) @ inputs.reach + np.abs(c)
    small = 4.0 * len(inputs.m) * TINY * (1.0 + float(inputs.reach.max(initial=0.0)))
    error = gamma(2 * len(inputs.m) + 24) * size + small + inputs.underflow
    return np.asarray(c + value + wide + error)


def lost(M: Any, reach: Array) -> float:
    """More than products of a layer lose that are too small for float64."""
    entries = float(M.shape[0]) * M.shape[1]
    largest = float(np.abs(M.data).max(initial=0.0))
    return 16.0 * entries * TINY * (1.0 + float(reach.max(initial=0.0))) * (1.0 + largest)


def interval_layer(layer: SparseLayer, inputs: Inputs) -> Bounds:
    """Bounds of ``M x + b``, of each row by itself."""
    M, b = layer
    y, s = M @ inputs.m + b, inputs.spread(M)
    error = gamma(2 * len(inputs.m) + 24) * (abs(M) @ inputs.reach + np.abs(b))
    error = error + lost(M, inputs.reach) + inputs.underflow
    return y - s - error, y + s + error


def after(bounds: Bounds) -> Inputs:
    """What a layer's neurons give to the next one, each by itself."""
    low, high = (np.maximum(end, 0.0) for end in bounds)
    middle = 0.5 * low + 0.5 * high
    radius = np.maximum(high - middle, middle - low) * (1.0 + 2.0**-50)
    return Inputs(middle, radius, ball=False)


def neuron_bounds(
    layers: list[SparseLayer], inputs: Inputs, signs: list[Array] | None = None
) -> list[Bounds]:
    """Bounds of y of the (hidden) layers: the better of both ways; see `relu.neuron_bounds`."""
    bounds: list[Bounds] = []
    before = inputs
    for index, (M, b) in enumerate(layers):
        lo, u = interval_layer((M, b), before)
        for start in range(0, len(b) if index else 0, _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            earlier = layers[:index], bounds, inputs
            u[rows] = np.minimum(u[rows], linear_bound(*earlier, M[rows], b[rows]))
            lo[rows] = np.maximum(lo[rows], -linear_bound(*earlier, -M[rows], -b[rows]))
        lo, u = on_their_side(lo, u, None if signs is None else signs[index])
        bounds.append((lo, u))
        before = after((lo, u))
    return bounds


def least_margin(
    layers: list[SparseLayer], bounds: list[Bounds], inputs: Inputs, w: Array, constant: float
) -> float:
    """A lower bound of ``w'x + constant``, x the last hidden layer, by the two cheap ways."""
    row = sparse.csr_array(w[None])
    by_lines = -linear_bound(layers, bounds, inputs, -row, np.array([-constant]))[0]
    last = after(bounds[-1]) if layers else inputs
    by_intervals = interval_layer((row, np.array([constant])), last)[0][0]
    return float(np.fmax(by_lines, by_intervals))
