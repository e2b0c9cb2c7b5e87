"""Heuristic pricing: local maxima of `uᵀMv` over sign vectors, many starts at once."""

import numpy as np


def signs(values: np.ndarray) -> np.ndarray:
    """−1.0 where negative, else 1.0: a sign that is never 0."""
    return np.where(values < 0.0, -1.0, 1.0)


def alternating_maximization(
    M: np.ndarray, V: np.ndarray, limit: int = 100
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local maxima of `uᵀMv` by `u ← sign(Mv)`, `v ← sign(Mᵀu)` until nothing changes.

    M: (d, d), V: (d, s) sign vectors to start from, one a column. Each half-step is the best
    answer to the other side, so the value never falls and no single bit of u or of v improves the
    result; `limit` bounds the number of full steps.
    Returns U, V (d, s) of float signs and the values (s,), all ≥ 0 up to rounding.
    """
    U = signs(M @ V)
    for _ in range(limit):
        V_next = signs(M.T @ U)
        U_next = signs(M @ V_next)
        same = np.array_equal(U_next, U) and np.array_equal(V_next, V)
        U, V = U_next, V_next
        if same:
            break
    return U, V, np.einsum("ij,ij->j", U, M @ V)
