"""Probabilities from scores by Platt's sigmoid.

J. Platt, Advances in Large Margin Classifiers (1999), with his targets, that keep it finite where
the classes are separated, and the stable form of H.-T. Lin, C.-J. Lin, R. Weng, Machine Learning 68
(2007). More than two classes: one sigmoid a class against the rest, their values divided by their
sum. Which rows it is fitted to, the caller says: only on others is a log loss an honest one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

Array = np.ndarray

ITERATIONS, HALVINGS, RIDGE = 100, 40, 1e-12
# A loss that is larger by no more than this, relative, is not seen to be so.
NOISE = 1e-13
# After so small a step of Newton's the next would be its square.
STEP = 1e-8
# Scores that differ by less, relative to the largest, are one, and so are those of such a size.
CONSTANT, LEAST = 1e-12, 1e-290


@dataclass(frozen=True, eq=False)
class Sigmoids:
    """`p = 1 / (1 + exp(−(slope · score + offset)))`; both (C,), C = 1 for two classes."""

    slope: Array
    offset: Array

    @classmethod
    def fit(cls, scores: Array, codes: Array, classes: int, weights: Array | None = None) -> Self:
        """From scores (n,) or (n, C) and the number of each row's class (n,).

        weights: (n,), how often each row counts; None: once.
        """
        columns = scores[:, None] if scores.ndim == 1 else scores
        wanted = [1] if scores.ndim == 1 else range(classes)
        found = [_sigmoid(columns[:, k], codes == code, weights) for k, code in enumerate(wanted)]
        slopes, offsets = zip(*found, strict=True)
        return cls(np.array(slopes), np.array(offsets))

    def probabilities(self, scores: Array) -> Array:
        """(n, C) for scores (n,), of two classes, or (n, C); rows sum to 1."""
        if scores.ndim == 1:
            value = self._value(scores)
            return np.column_stack([expit(-value), expit(value)])
        share = np.maximum(expit(self._value(scores)), np.finfo(float).tiny)
        return np.asarray(share / share.sum(axis=1, keepdims=True))

    def of_classes(self, scores: Array, codes: Array) -> Array:
        """The probability (n,) of the class that `codes` (n,) has for each row."""
        if scores.ndim == 1:
            value = self._value(scores)
            return np.asarray(expit(np.where(codes == 1, value, -value)))
        return self.probabilities(scores)[np.arange(len(codes)), codes]

    def _value(self, scores: Array) -> Array:
        return np.asarray(scores * self.slope + self.offset)


def _sigmoid(scores: Array, positive: Array, weights: Array | None) -> tuple[float, float]:
    """Slope and offset by Newton's method, on standardized scores."""
    counted = positive if weights is None else np.where(positive, weights, 0.0)
    more = float(counted.sum())
    fewer = (len(positive) if weights is None else float(weights.sum())) - more
    target = np.where(positive, (more + 1.0) / (more + 2.0), 1.0 / (fewer + 2.0))
    offset = float(np.log((more + 1.0) / (fewer + 1.0)))
    largest = float(np.abs(scores).max())
    if largest <= LEAST:
        return 0.0, offset
    units = scores / largest
    middle = float(np.add.reduce(units)) / len(units)
    centred = units - middle
    spread = math.sqrt(float(np.add.reduce(centred * centred)) / len(units))
    if spread <= CONSTANT:
        return 0.0, offset
    relative = None if weights is None else weights / float(weights.max())
    slope, offset = _newton(centred / spread, target, relative, offset)
    return slope / spread / largest, offset - slope * middle / spread


def _newton(
    units: Array, target: Array, weights: Array | None, offset: float
) -> tuple[float, float]:
    """Slope and offset of the least logistic loss of targets in [0, 1], from slope 0."""
    counted = np.ones(len(units)) if weights is None else weights
    # What the loss is linear in, and the sums of its derivatives, as products with fixed rows.
    linear, rows = counted * target, np.array([units * units, units, np.ones(len(units))]) * counted
    along, level = float(linear @ units), float(linear.sum())

    def loss(slope: float, offset: float, value: Array) -> float:
        return float(counted @ np.logaddexp(0.0, value)) - slope * along - offset * level

    slope, value = 0.0, np.full(len(units), offset)
    now = loss(slope, offset, value)
    for _ in range(ITERATIONS):
        step, shift = _step(rows, expit(value), target)
        for _ in range(HALVINGS):
            value = (slope - step) * units + (offset - shift)
            new = loss(slope - step, offset - shift, value)
            if new <= now + NOISE * abs(now):
                break
            step, shift = step / 2.0, shift / 2.0
        else:
            break
        slope, offset, now = slope - step, offset - shift, new
        if max(abs(step), abs(shift)) <= STEP * max(1.0, abs(slope), abs(offset)):
            break
    return slope, offset


def _step(rows: Array, share: Array, target: Array) -> tuple[float, float]:
    """Newton's step of slope and offset: the 2×2 system, ridged, by Cramer's rule.

    rows: (3, n), the squares of the scores, the scores, and ones, each times the rows' weights.
    """
    most, mixed, least = (rows @ (share * (1.0 - share))).tolist()
    along, level = (rows[1:] @ (share - target)).tolist()
    scale = max(1.0, least + most)
    most, mixed, least = most / scale + RIDGE, mixed / scale, least / scale + RIDGE
    along, level = along / scale, level / scale
    determinant = most * least - mixed * mixed
    return (
        (least * along - mixed * level) / determinant,
        (most * level - mixed * along) / determinant,
    )
