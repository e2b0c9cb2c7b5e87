"""Polarization: a bilinear binary network as a quadratic ternary one, exactly."""

import numpy as np


def polarized(U: np.ndarray, V: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights {−1, 0, 1} (d, 2m) and their α (2m,): with the activation t² the same function.

    `(xᵀu)(xᵀv) = (xᵀ(u+v)/2)² − (xᵀ(u−v)/2)²` for U, V (d, m) of ±1: m neurons with α become 2m
    with α and −α. That doubles Σ|α|, so the network's objective and its certificate stay those of
    the bilinear one.
    """
    return np.hstack([(U + V) // 2, (U - V) // 2]), np.concatenate([alpha, -alpha])
