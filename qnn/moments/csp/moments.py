"""The moments of a leaf's indicators, from those of its signs."""

import numpy as np

from qnn.moments.csp.leaves import Node

Array = np.ndarray


def indicator_moments(node: Node, k: int) -> Array:
    """Z (n, k, n, k): Pr[x_i = a, x_j = b] as the relaxation has it, clipped to [0, 1]."""
    n, size = len(node.values), len(node.X)
    H = np.zeros((n, k, size))
    first = 1
    for i, value in enumerate(node.values):
        if value >= 0:
            H[i, value, 0] = 1.0
            continue
        own = np.arange(first, first + k - 1)
        H[i, : k - 1, 0] = 0.5
        H[i, np.arange(k - 1), own] = -0.5
        H[i, k - 1, 0] = 0.5 * (3 - k)
        H[i, k - 1, own] = 0.5
        first += k - 1
    X = node.X.astype(np.float64)
    scale = 1.0 / np.sqrt(np.maximum(X.diagonal(), 1e-9))
    rows = H.reshape(n * k, size)
    Z = rows @ (X * scale[:, None] * scale) @ rows.T
    return np.asarray(np.clip(Z, 0.0, 1.0).reshape(n, k, n, k))


def distributions(Z: Array) -> Array:
    """Each variable's own distribution, summing to 1, (n, k)."""
    means = np.maximum(np.einsum("iaia->ia", Z), 1e-12)
    return np.asarray(means / means.sum(axis=1, keepdims=True))
