"""Coordinate descent of a quadratic form on a box, with exact minima along each coordinate."""

from __future__ import annotations

import numpy as np

from qnn.certificates.robustness.forms import Form
from qnn.numerics.compiled import compiled

Array = np.ndarray


@compiled()
def _sweep(
    A: np.ndarray,
    slope: np.ndarray,
    x: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    chains: np.ndarray,
) -> float:
    """One pass over the coordinates, in place; returns by how much the form has fallen."""
    n = len(x)
    fallen = 0.0
    for j in range(n):
        if not low[j] < high[j]:
            continue
        best, change = 0.0, 0.0
        if chains[j] >= 0:
            # A bit may only change where the ones before and after it in its chain allow it.
            before = j == 0 or chains[j - 1] != chains[j] or x[j - 1] > 0.0
            after = j == n - 1 or chains[j + 1] != chains[j] or x[j + 1] < 0.0
            if (x[j] < 0.0 and before) or (x[j] > 0.0 and after):
                step = -2.0 * x[j]
                value = step * (slope[j] + A[j, j] * step)
                if value < best:
                    best, change = value, step
        else:
            a = A[j, j]
            for k in range(3):
                step = low[j] - x[j] if k == 0 else high[j] - x[j]
                if k == 2:
                    if not a > 0.0:
                        continue
                    step = min(max(x[j] - slope[j] / (2.0 * a), low[j]), high[j]) - x[j]
                value = step * (slope[j] + a * step)
                if value < best:
                    best, change = value, step
        if change != 0.0:
            x[j] = min(max(x[j] + change, low[j]), high[j])
            fallen -= best
            for i in range(n):
                slope[i] += 2.0 * A[i, j] * change
    return fallen


@compiled()
def _descend(
    A: np.ndarray,
    linear: np.ndarray,
    starts: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    chains: np.ndarray,
    sweeps: int,
) -> np.ndarray:
    """Every start (k, n) descended in place; the values without the constant (k,)."""
    values = np.empty(len(starts))
    for k in range(len(starts)):
        x = starts[k]
        slope = linear + 2.0 * (A @ x)
        size = np.abs(slope).sum() + 1e-300
        for _ in range(sweeps):
            if not _sweep(A, slope, x, low, high, chains) > 1e-13 * size:
                break
        values[k] = linear @ x + x @ (A @ x)
    return values


def lowest_point(
    form: Form, low: Array, high: Array, chains: Array, starts: Array, sweeps: int = 100
) -> tuple[Array, float]:
    """The best point (n,) found from the starts (k, n), which lie in the box, and its value.

    Bits of a chain (see `qnn.certificates.robustness.regions`) are set one after the other.
    """
    points = np.ascontiguousarray(starts, dtype=np.float64).copy()
    for group in np.unique(chains[chains >= 0]):
        bits = np.flatnonzero(chains == group)
        counts = (points[:, bits] > 0.0).sum(axis=1)
        points[:, bits] = np.where(np.arange(len(bits)) < counts[:, None], 1.0, -1.0)
    points = np.clip(points, low, high)
    values = _descend(np.ascontiguousarray(form.A), form.linear, points, low, high, chains, sweeps)
    best = int(np.argmin(values))
    return points[best], form.constant + float(values[best])


def random_starts(low: Array, high: Array, count: int, rng: np.random.Generator) -> Array:
    """Points (count, n) of a box: half of them corners."""
    shape = (count, len(low))
    inside = low + (high - low) * rng.uniform(size=shape)
    corners = np.where(rng.uniform(size=shape) < 0.5, low, high)
    return np.where(np.arange(count)[:, None] % 2 == 0, corners, inside)
