"""Repairs and estimates of both bounds in scaled units; the truth is left to certificates."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from qnn.lift import Lift
from qnn.solvers.scaling import ScaledProblem

Array = np.ndarray


def balance_diagonals(lift: Lift, P: Array, N: Array) -> tuple[Array, Array, tuple[float, ...]]:
    """Feasible P, N near these positive semidefinite ones, and their rho.

    The congruence ``D P D``, ``D N D`` makes the diagonal constant at its mean. Near an optimum it
    costs only the square of what the diagonal missed, where raising the diagonal to its largest
    entry would cost that itself; rows of less than half the mean are first raised, for they would
    be multiplied by too much.
    """
    if lift.joint:
        diagonal = np.diag(P) + np.diag(N)
        rho = float(diagonal.mean())
        missing = np.maximum(0.5 * rho - diagonal, 0.0)
        P, N = _congruence((P, N), missing / 2.0, rho)
        return P, N, (rho,)
    blocks, rhos = [], []
    for block in (P, N):
        rho = float(np.diag(block).mean())
        missing = np.maximum(0.5 * rho - np.diag(block), 0.0)
        blocks.append(_congruence((block,), missing, rho)[0])
        rhos.append(rho)
    return blocks[0], blocks[1], tuple(rhos)


def _congruence(blocks: tuple[Array, ...], missing: Array, rho: float) -> list[Array]:
    if rho <= 0.0:
        return [np.zeros_like(block) for block in blocks]
    if missing.any():
        blocks = tuple(block + np.diag(missing) for block in blocks)
    root = np.sqrt(rho / np.sum([np.diag(block) for block in blocks], axis=0))
    scale = root[:, None] * root[None, :]
    return [block * scale for block in blocks]


def feasible_value(
    scaled: ScaledProblem, P: Array, N: Array
) -> tuple[float, Array, Array, tuple[float, ...]]:
    """Repair positive semidefinite P, N and scale them well: ``(value, P, N, rho)``."""
    P, N = P.astype(np.float64), N.astype(np.float64)
    P, N, rho = balance_diagonals(scaled.lift, P, N)
    predictions = scaled.lift.apply(P - N)
    price = scaled.budget * sum(rho)
    t = 1.0
    if scaled.loss.name == "squared":
        square = float(predictions @ predictions)
        t = max((float(predictions @ scaled.y) - price) / square, 0.0) if square > 0.0 else 0.0
        P, N, rho = t * P, t * N, tuple(t * value for value in rho)
    return scaled.loss.value(t * predictions, scaled.y) + t * price, P, N, rho


def dual_estimate(
    scaled: ScaledProblem, nu: Array, M: Array, diagonals: tuple[Array, ...]
) -> float:
    """The dual value after the repair by an even shift of the diagonals."""
    slacks = [np.diag(diagonals[0]) - M, np.diag(diagonals[-1]) + M]
    lowest = [float(lapack.dsyevd(S, compute_v=0)[0][0]) for S in slacks]
    if scaled.lift.joint:
        spent = float((diagonals[0] + max(0.0, -min(lowest))).sum())
    else:
        spent = max(
            float((a + max(0.0, -low)).sum()) for a, low in zip(diagonals, lowest, strict=True)
        )
    limit = scaled.budget / spent if spent > 0.0 else np.inf
    t = scaled.loss.best_dual_scale(nu, scaled.y, limit)
    return scaled.loss.dual_value(t * nu, scaled.y)
