"""The compiled parts of a leaf's step: a leaf takes thousands, on matrices of some sixty rows."""

from __future__ import annotations

import numpy as np

from qnn.numerics.compiled import compiled
from qnn.training.relaxation.tightening.steps import RELAXATION_FACTOR


@compiled(nogil=True)
def aimed(
    P: np.ndarray,
    W_P: np.ndarray,
    N: np.ndarray,
    W_N: np.ndarray,
    V: np.ndarray,
    Z: np.ndarray,
    sums: np.ndarray,
    weight: float,
    V_out: np.ndarray,
    Z_out: np.ndarray,
) -> float:
    """Write the minimizer of the quadratic terms of (V, Z) without the data; the trace of V.

    sums (2, d, d): the inequalities' gradient, of each pair of entries in one place above the
    diagonal or on it. The weights are `weight` for (V, Z) and half of it for P and N.
    """
    d, trace = len(V), 0.0
    for i in range(d):
        for j in range(i, d):
            share = (1.0 if i == j else 0.5) / (1.5 * weight)
            p, q = P[i, j] - W_P[i, j], N[i, j] - W_N[i, j]
            v = (p + q + 2.0 * V[i, j]) / 3.0 - share * sums[0, i, j]
            z = (p - q + 2.0 * Z[i, j]) / 3.0 - share * sums[1, i, j]
            V_out[i, j] = V_out[j, i] = v
            Z_out[i, j] = Z_out[j, i] = z
        trace += V_out[i, i]
    return trace


@compiled(nogil=True)
def relaxed_point(
    V: np.ndarray,
    Z: np.ndarray,
    sign: float,
    block: np.ndarray,
    W: np.ndarray,
    stays: np.ndarray,
    point: np.ndarray,
    inside: np.ndarray,
) -> None:
    """Write the point to be projected, over-relaxed, and its rows and columns `stays`."""
    d = len(V)
    for i in range(d):
        for j in range(d):
            target = 0.5 * (V[i, j] + sign * Z[i, j])
            rest = (1.0 - RELAXATION_FACTOR) * block[i, j]
            point[i, j] = RELAXATION_FACTOR * target + rest + W[i, j]
    for a in range(len(stays)):
        for b in range(len(stays)):
            inside[a, b] = point[stays[a], stays[b]]


@compiled(nogil=True)
def scattered(
    projected: np.ndarray, stays: np.ndarray, positive: np.ndarray, point: np.ndarray
) -> None:
    """Write the projection to the rows and columns `stays`, and take it from the point."""
    for a in range(len(stays)):
        for b in range(len(stays)):
            positive[stays[a], stays[b]] = projected[a, b]
            point[stays[a], stays[b]] -= projected[a, b]
