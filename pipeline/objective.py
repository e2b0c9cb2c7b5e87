"""The objective of a network on a training matrix with one target or several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from qnn.activations import Polynomial
from qnn.losses import Loss
from qnn.network import QuantizedNetwork
from qnn.problem import Problem


def objective_and_loss(
    network: QuantizedNetwork, X: np.ndarray, y: np.ndarray, beta: float, loss: Loss
) -> tuple[float, float]:
    """Loss plus penalty, and the loss alone, summed over the outputs.

    X (n, d); y (n,), or (n, C) for a network of C outputs. With the penalty `β d Σ_j ‖α_j‖₁` both
    are sums of those of C scalar problems that share X.
    """
    activation = "bilinear" if network.polynomial is None else Polynomial(*network.polynomial)
    pairs = [(y, network.alpha)] if y.ndim == 1 else list(zip(y.T, network.alpha.T, strict=True))
    objectives, losses = [], []
    for target, alpha in pairs:
        problem = Problem(X, target, beta, loss, activation, network.alphabet)
        objective = problem.objective_of(network.U, network.V, alpha)
        objectives.append(objective)
        losses.append(objective - problem.budget * float(np.abs(alpha).sum()))
    return math.fsum(objectives), math.fsum(losses)


def sum_down(values: Sequence[float]) -> float:
    """The largest float64 that is at most the exact sum: of lower bounds again a lower bound."""
    total = math.fsum(values)
    if Fraction(total) > sum(map(Fraction, values), Fraction(0)):
        return math.nextafter(total, -math.inf)
    return total
