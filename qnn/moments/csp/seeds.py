"""Which variables to condition on: by their moments' correlations, or by the dual's shares.

* "corr": the variable whose value explains most of the others' variance, `Σ_j tr C_ji C_ii⁺ C_ij`
  of the covariances C of their signs; for ±1, `Σ_j C_ij² / C_ii`. After each, C is what is left.
* "corr_dual": the same, each j weighted by its share of the dual's diagonal.
* "dual": the largest share of the diagonal.
* "undecided": the variable that its means leave most open.
* "random": any (as in Barak, Raghavendra, Steurer, FOCS 2011, who take a random set).
"""

from __future__ import annotations

import numpy as np

from qnn.errors import InputError, shown
from qnn.moments.csp.leaves import Node

Array = np.ndarray

RULES = ("auto", "corr", "corr_dual", "dual", "undecided", "random")
# Variance below this is none.
_NONE = 1e-6


def check_rule(rule: str) -> None:
    """Raise InputError for a rule that there is not."""
    if rule not in RULES:
        raise InputError(f"rule must be one of {', '.join(RULES)} (got {shown(rule)})")


def choose_seeds(rule: str, node: Node, k: int, count: int, rng: np.random.Generator) -> list[int]:
    """Up to `count` free variables, one after the other, by a node's moments."""
    rule = "corr_dual" if rule == "auto" else rule
    free = np.flatnonzero(node.values < 0)
    C = covariance(node.X)
    shares = np.maximum(node.sealed.diagonal[1:].reshape(len(free), k - 1).sum(axis=1), 0.0)
    chosen: list[int] = []
    for _ in range(min(count, len(free))):
        gains = _gains(rule, C, node.X, shares, k, rng)
        gains[chosen] = -np.inf
        best = int(gains.argmax())
        chosen.append(best)
        C = conditioned(C, best, k)
    return free[chosen].tolist()


def covariance(X: Array) -> Array:
    """Of the free signs, from moments over w."""
    X = X.astype(np.float64)
    scale = 1.0 / np.sqrt(np.maximum(X.diagonal(), _NONE))
    Y = X * scale[:, None] * scale
    return np.asarray(Y[1:, 1:] - np.outer(Y[1:, 0], Y[0, 1:]))


def conditioned(C: Array, i: int, k: int) -> Array:
    """The covariances that are left, on average, after variable i is known."""
    own = slice(i * (k - 1), (i + 1) * (k - 1))
    inverse = np.linalg.pinv(C[own, own], rcond=1e-6, hermitian=True)
    return np.asarray(C - C[:, own] @ inverse @ C[own])


def _gains(rule: str, C: Array, X: Array, shares: Array, k: int, rng: np.random.Generator) -> Array:
    count = len(shares)
    if rule == "random":
        return rng.random(count)
    if rule == "dual":
        return shares.astype(np.float64)
    if rule == "undecided":
        variances: Array = C.diagonal().reshape(count, k - 1).sum(axis=1)
        return variances
    weights = np.repeat(shares, k - 1) if rule == "corr_dual" else np.ones(len(C))
    if k == 2:
        own = C.diagonal()
        return np.where(own > _NONE, (C * C) @ weights / np.maximum(own, _NONE), -1.0)
    gains = np.empty(count)
    for i in range(count):
        block = slice(i * (k - 1), (i + 1) * (k - 1))
        inverse = np.linalg.pinv(C[block, block], rcond=1e-6, hermitian=True)
        gains[i] = ((inverse @ C[block]) * C[block]).sum(axis=0) @ weights
    return gains
