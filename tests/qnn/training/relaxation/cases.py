"""Problems that every solver must face."""

from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_breast_cancer

from qnn.losses import LOSSES, MarginLoss
from qnn.networks.activations import Activation, Bilinear, Polynomial
from qnn.training.problems.problem import Problem

Array = np.ndarray
Data = tuple[Array, Array]

ACTIVATIONS: dict[str, Activation] = {
    "bilinear": Bilinear(),
    "polynomial": Polynomial(0.0937, 0.5, 0.4688),
}


def planted(n: int, d: int, seed: int = 0, neurons: int = 3) -> Data:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    U, V = (np.sign(rng.standard_normal((d, neurons))) for _ in range(2))
    y = ((X @ U) * (X @ V)) @ rng.standard_normal(neurons)
    return X, y + 0.3 * y.std() * rng.standard_normal(n)


def wdbc(rows: int = 60, columns: int = 6) -> Data:
    X, y = load_breast_cancer(return_X_y=True)
    X = X[:rows, :columns]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return np.column_stack([X, np.ones(rows)]), 2.0 * y[:rows] - 1.0


def _scaled(x_unit: float, y_unit: float) -> Callable[[], Data]:
    def make() -> Data:
        X, y = planted(30, 4)
        return x_unit * X, y_unit * y

    return make


def _rank_deficient() -> Data:
    X, y = planted(40, 3)
    return np.column_stack([X, X[:, 0] + X[:, 1], X[:, 0]]), y


def _duplicated_rows() -> Data:
    X, y = planted(12, 4)
    return np.vstack([X, X, X]), np.concatenate([y, y, y + 1.0])


def _constant_columns() -> Data:
    X, y = planted(30, 3)
    return np.column_stack([X, np.ones(30), np.zeros(30), np.full(30, 2.0)]), y


def _zero_targets() -> Data:
    X, y = planted(20, 4)
    return X, 0.0 * y


#: name -> (data, beta as a fraction of beta_max)
CASES: dict[str, tuple[Callable[[], Data], float]] = {
    "planted": (lambda: planted(60, 6), 0.1),
    "wdbc": (wdbc, 0.1),
    "rank deficient": (_rank_deficient, 0.1),
    "duplicated rows": (_duplicated_rows, 0.2),
    "zero targets": (_zero_targets, 0.1),
    "beta too large": (lambda: planted(30, 4), 1.5),
    "tiny beta": (lambda: planted(40, 4), 1e-5),
    "fewer rows than columns": (lambda: planted(4, 7), 0.1),
    "one row": (lambda: planted(1, 5), 0.3),
    "one column": (lambda: planted(20, 1), 0.2),
    "constant columns": (_constant_columns, 0.1),
    "tiny data": (_scaled(1e-8, 1.0), 0.1),
    "huge data": (_scaled(1e8, 1.0), 0.1),
    "tiny targets": (_scaled(1.0, 1e-8), 0.1),
    "huge targets": (_scaled(1.0, 1e8), 0.1),
    "tiny data, huge targets": (_scaled(1e-8, 1e8), 0.1),
}


def make_problem(data: Data, fraction: float, loss: str, activation: str) -> Problem:
    """The problem at this fraction of its beta_max; classes are the signs of the targets."""
    X, y = data
    if issubclass(LOSSES[loss], MarginLoss):
        y = np.where(y > 0.0, 1.0, -1.0)
    problem = Problem(X, y, 1.0, loss=loss, activation=ACTIVATIONS[activation])
    top = problem.beta_max
    return problem.with_beta(fraction * top if top > 0.0 else fraction)
