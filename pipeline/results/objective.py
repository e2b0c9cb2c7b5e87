"""The objective of a network on a training matrix with one target or several."""

from __future__ import annotations

import numpy as np

from pipeline.configuration.kinds import Kind
from qnn.losses import Loss, get_loss
from qnn.networks.activations import Polynomial
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.problems.vector import problem_of


def objective_and_loss(
    network: QuantizedNetwork, X: np.ndarray, y: np.ndarray, beta: float, loss: Loss
) -> tuple[float, float]:
    """Loss plus penalty, and the loss alone, summed over the outputs.

    X (n, d); y (n,), or (n, C) for a network of C outputs. Rows count as the loss's weights say.
    """
    activation = "bilinear" if network.polynomial is None else Polynomial(*network.polynomial)
    objective = problem_of(X, y, beta, loss, activation, network.alphabet).objective(network)
    return objective, objective - beta * X.shape[1] * float(np.abs(network.alpha).sum())


def beta_max_of(
    kind: Kind, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """The beta from which on the best network, of all the outputs of y (n,) or (n, C), is zero.

    weights: (n,) what each row counts for in the loss; None: 1.
    """
    loss = get_loss(kind.loss, kind.loss_parameter).weighted(weights)
    activation = "bilinear" if kind.polynomial is None else Polynomial(*kind.polynomial)
    return problem_of(X, y, 1.0, loss, activation, kind.alphabet).beta_max
