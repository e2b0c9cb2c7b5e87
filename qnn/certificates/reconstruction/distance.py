"""The squared distance of a ReLU network's outputs to a target on a box, from above.

It is quadratic in the last hidden layer, ``||W'x + b - t||^2``: where the rest of the network is
affine in z, ``x = A z + d``, so are the differences, ``E z + f``, and the distance is
``f'f + 2 f'Ez + z'E'Ez`` (R. Dathathri et al., Enabling certification of verification-agnostic
networks via memory-efficient semidefinite programming, 2020, the VAE's specification: the last
diagonal block of the dual's matrix has ``W W'`` on it). Its negative is a system's margin.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from qnn.certificates.robustness.relu import (
    Bounds,
    Layer,
    System,
    affine,
    interval_layer,
    linear_bound,
    without_margin,
)
from qnn.numerics.floating import TINY, gamma, summed

Array = np.ndarray


def difference(layer: Layer, target: Array) -> tuple[Layer, Array]:
    """The affine map ``W'x + b - target``, and by how much each of its constants is off (q,)."""
    W, b = layer
    return (W, b - target), gamma(2) * (np.abs(b) + np.abs(target))


def interval_distance(layer: Layer, last: Bounds, target: Array) -> tuple[float, float]:
    """As `linear_distance`, of a last hidden layer that is bounded by a box alone."""
    moved, off = difference(layer, target)
    lo, u = interval_layer(moved, *last)
    return _squared(lo, u, off)


def linear_distance(
    layers: list[Layer], bounds: list[Bounds], box: Bounds, target: Array
) -> tuple[float, float]:
    """The sum of squares of the outputs' bounds: a bound of the distance, and its rounding error.

    Each output is bounded by the better of both ways, see `neuron_bounds`; bounds: of the hidden
    layers. This is what a method whose objectives are linear has to say about a distance.
    """
    hidden = layers[:-1]
    (W, b), off = difference(layers[-1], target)
    above = linear_bound(hidden, bounds, box, W, b)
    below = -linear_bound(hidden, bounds, box, -W, -b)
    last = (np.maximum(bounds[-1][0], 0.0), np.maximum(bounds[-1][1], 0.0)) if hidden else box
    lo, u = interval_layer((W, b), *last)
    return _squared(np.fmax(lo, below), np.fmin(u, above), off)


def _squared(lo: Array, u: Array, off: Array) -> tuple[float, float]:
    reach = np.maximum(np.maximum(u, -lo), 0.0) + off
    if not np.isfinite(reach).all():
        return math.inf, math.inf
    total = summed(reach * reach, "the distance")
    return total, gamma(12) * total + 4.0 * len(off) * TINY


def distance_system(
    layers: list[Layer],
    bounds: list[Bounds],
    box: Bounds,
    target: Array,
    signs: list[Array] | None = None,
) -> System:
    """The network on a box, decided neurons substituted, with minus the distance as its margin.

    Of the computed differences each is off by at most e, so each square by ``2 |.| e + e^2``; the
    roundings of the coefficients are a part of the sum of the squared differences of absolute
    values, for so much is the sum of all coefficients' sizes.
    """
    system, last = without_margin(layers[:-1], bounds, box, signs)
    moved, constant_off = difference(layers[-1], target)
    E, f, e = affine(moved, *last)
    e = e + constant_off
    q, n = E.shape
    reach = np.abs(f) + np.abs(E).sum(axis=1)
    off = float((2.0 * reach + e) @ e) + gamma(2 * q + 2 * n + 40) * float(reach @ reach)
    # A product of numbers below 1 loses a normal number at most, of others its factor times that.
    widest = 1.0 + float(np.concatenate([reach, e, [0.0]]).max())
    lost = 16.0 * (q + 2.0) * (n + 2.0) * (n + 2.0) * TINY * widest * widest
    H = -2.0 * (E.T @ E)
    return replace(
        system,
        c=-float(f @ f),
        g=-2.0 * (E.T @ f),
        margin_error=off * (1.0 + gamma(4 * q + 4 * n + 40)) + lost,
        H=0.5 * (H + H.T),
    )
