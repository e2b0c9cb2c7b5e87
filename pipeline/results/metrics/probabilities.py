"""Probabilities from scores by Platt's sigmoid, fitted to the rows that a network was trained on.

J. Platt, Advances in Large Margin Classifiers (1999), with his targets, that keep it finite where
the classes are separated, and the stable form of H.-T. Lin, C.-J. Lin, R. Weng, Machine Learning 68
(2007). More than two classes: one sigmoid a class against the rest, their values divided by their
sum. The held-out rows play no part, so that a log loss on them is an honest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

ITERATIONS, HALVINGS = 100, 40
STEP = 1e-13
# Scores that differ by less, relative to the largest, are one, and so are those of such a size.
CONSTANT, LEAST = 1e-12, 1e-290


@dataclass(frozen=True, eq=False)
class Calibration:
    """`p = 1 / (1 + exp(−(slope · score + offset)))`; both (C,), C = 1 for two classes."""

    slope: np.ndarray
    offset: np.ndarray

    @classmethod
    def fit(cls, scores: np.ndarray, codes: np.ndarray, classes: int) -> Self:
        """From scores (n,) or (n, C) and the number of each row's class (n,)."""
        columns = scores[:, None] if scores.ndim == 1 else scores
        wanted = [1] if scores.ndim == 1 else range(classes)
        found = [_sigmoid(columns[:, k], codes == code) for k, code in enumerate(wanted)]
        slopes, offsets = zip(*found, strict=True)
        return cls(np.array(slopes), np.array(offsets))

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """(n, C) for scores (n,), of two classes, or (n, C); rows sum to 1."""
        if scores.ndim == 1:
            value = self.slope[0] * scores + self.offset[0]
            return np.column_stack([expit(-value), expit(value)])
        share = np.maximum(expit(scores * self.slope + self.offset), np.finfo(float).tiny)
        return np.asarray(share / share.sum(axis=1, keepdims=True))


def _sigmoid(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Slope and offset by Newton's method, on standardized scores."""
    more, fewer = int(np.sum(positive)), int(np.sum(~positive))
    target = np.where(positive, (more + 1.0) / (more + 2.0), 1.0 / (fewer + 2.0))
    offset = float(np.log((more + 1.0) / (fewer + 1.0)))
    largest = float(np.abs(scores).max())
    units = scores / largest if largest > LEAST else np.zeros(len(scores))
    middle, spread = float(np.mean(units)), float(np.std(units))
    if spread <= CONSTANT:
        return 0.0, offset
    design = np.column_stack([(units - middle) / spread, np.ones(len(units))])
    slope, offset = _newton(design, target, np.array([0.0, offset]))
    return slope / spread / largest, offset - slope * middle / spread


def _newton(design: np.ndarray, target: np.ndarray, start: np.ndarray) -> tuple[float, float]:
    def loss(at: np.ndarray) -> float:
        value = design @ at
        return float(np.sum(np.logaddexp(0.0, value) - target * value))

    at, now = start, loss(start)
    for _ in range(ITERATIONS):
        share = expit(design @ at)
        curvature = (design * (share * (1.0 - share))[:, None]).T @ design
        step = np.linalg.solve(
            curvature + 1e-12 * np.eye(2) * max(1.0, float(np.trace(curvature))),
            design.T @ (share - target),
        )
        for _ in range(HALVINGS):
            new = loss(at - step)
            if new <= now:
                break
            step = step / 2.0
        else:
            break
        at, now = at - step, new
        if float(np.abs(step).max()) <= STEP * max(1.0, float(np.abs(at).max())):
            break
    return float(at[0]), float(at[1])
