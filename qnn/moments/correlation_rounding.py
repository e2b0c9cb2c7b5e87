"""Rounding by conditioning on correlated variables, and what correlation and spectrum promise.

After B. Barak, P. Raghavendra, D. Steurer, Rounding semidefinite programming hierarchies via
global correlation, FOCS 2011. The moments are those of a leaf, where some variables are known:
Z (n, k, n, k), Pr[x_i = a, x_j = b], with the means m (n, k) on its diagonal.

* Condition, then independent: each x_i from its own conditional distribution. The value's mean is
  `Σ m_i'u_i + Σ m_i' W_ij m_j` (pairs once); fixing one variable after the other at its best value
  never lowers it, which makes the rounding deterministic.
* Propagation, for unique games: a seed s with value a labels every i by the most likely x_i given
  x_s = a.
* With G the normalized adjacency matrix and rank_{≥τ}(G) its eigenvalues of at least τ: for ±1, r
  rounds lose at most ½ √(τ + √(rank_{≥τ} / r)) of the total weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.certificates.csp import Payoffs

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Correlations:
    """Mean squared covariances of pairs of variables, summed over their values.

    local: of the constraints' pairs, by weight. everywhere: of all pairs, by degree.
    """

    local: float
    everywhere: float


def edge_weights(payoffs: Payoffs) -> Array:
    """(n, n): of each pair the span of its payoffs, summed over its constraints."""
    spans = payoffs.tables.max(axis=(1, 2), initial=-np.inf) - payoffs.tables.min(
        axis=(1, 2), initial=np.inf
    )
    A = np.zeros((payoffs.n, payoffs.n))
    i, j = payoffs.pairs.T
    np.add.at(A, (i, j), np.maximum(spans, 0.0))
    return A + A.T


def spectrum(payoffs: Payoffs) -> Array:
    """The eigenvalues of the normalized adjacency matrix, largest first, (n,)."""
    A = edge_weights(payoffs)
    degrees = A.sum(axis=1)
    scale = np.where(degrees > 0.0, 1.0 / np.sqrt(np.where(degrees > 0.0, degrees, 1.0)), 0.0)
    return np.asarray(np.linalg.eigvalsh(A * scale[:, None] * scale)[::-1])


def threshold_rank(eigenvalues: Array, tau: float) -> int:
    """How many eigenvalues are at least tau."""
    return int(np.count_nonzero(eigenvalues >= tau))


def guaranteed_loss(eigenvalues: Array, rounds: int) -> float:
    """The share of the total weight that r rounds lose at most, for two values; 1 says nothing.

    The least of ½ √(τ + √(rank_{≥τ} / r)) over τ, at or just above the eigenvalues.
    """
    if rounds < 1:
        return 1.0
    taus = np.maximum(np.append(np.nextafter(eigenvalues, np.inf), 0.0), 0.0)
    ranks = np.array([threshold_rank(eigenvalues, tau) for tau in taus])
    return float(min(1.0, (0.5 * np.sqrt(taus + np.sqrt(ranks / rounds))).min()))


def correlations(payoffs: Payoffs, Z: Array) -> Correlations:
    """Local and global correlation of moments Z (n, k, n, k)."""
    means = np.einsum("iaia->ia", Z)
    covariance = Z - means[:, :, None, None] * means
    squares = (covariance**2).sum(axis=(1, 3))
    A = edge_weights(payoffs)
    total = A.sum()
    if total <= 0.0:
        return Correlations(0.0, 0.0)
    pi = A.sum(axis=1) / total
    return Correlations(float((A * squares).sum() / total), float(pi @ squares @ pi))


def expected_value(W: Array, unary: Array, means: Array) -> float:
    """The value's mean, without the constant, where each variable is drawn from its own means.

    W (n, k, n, k): payoffs of both orders of a pair. means (n, k).
    """
    flat = means.ravel()
    return float((unary * means).sum() + 0.5 * flat @ W.reshape(len(flat), -1) @ flat)


def derandomized(W: Array, unary: Array, means: Array) -> Array:
    """An assignment (n,) whose value is at least `expected_value`, least decided variables last."""
    means = means.copy()
    k = unary.shape[1]
    x = np.zeros(len(means), dtype=np.int64)
    for i in np.argsort(-means.max(axis=1), kind="stable"):
        gains = unary[i] + W[i].reshape(k, -1) @ means.ravel()
        x[i] = int(gains.argmax())
        means[i] = 0.0
        means[i, x[i]] = 1.0
    return x


def propagated(Z: Array, seed: int, value: int) -> Array:
    """Label every variable by its most likely value given that the seed has this one, (n,)."""
    x = np.asarray(Z[seed, value].argmax(axis=1))
    x[seed] = value
    return x


def best_propagation(payoffs: Payoffs, W: Array, Z: Array, seeds: int = 50) -> Array:
    """The best of propagations from the seeds of largest degree, each of their likely values."""
    n, k = payoffs.n, payoffs.k
    order = np.argsort(-edge_weights(payoffs).sum(axis=1), kind="stable")[:seeds]
    best, found = -np.inf, np.zeros(n, dtype=np.int64)
    for seed in order:
        for value in range(k):
            if Z[seed, value, seed, value] > 1e-3:
                x = propagated(Z, int(seed), value)
                worth = expected_value(W, payoffs.unary, np.eye(k)[x])
                if worth > best:
                    best, found = worth, x
    return found
