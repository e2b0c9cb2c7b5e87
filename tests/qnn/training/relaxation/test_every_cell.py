"""The contract of 'auto': a verified gap of 1e-4 in every cell of losses, activations, fractions.

Shapes on which first-order steps stalled stand beside ordinary ones. A part runs in every test run,
all of it as a slow test.
"""

from collections.abc import Callable

import numpy as np
import pytest

from qnn.certificates import verify
from qnn.losses import LOSSES, MarginLoss
from qnn.networks.activations import Activation, Bilinear, Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from tests.qnn.training.relaxation.cases import Data, planted, wdbc

TOL = 1e-4
FRACTIONS = (0.9, 0.3, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
ACTIVATIONS: dict[str, Activation] = {
    "bilinear": Bilinear(),
    "polynomial": Polynomial(0.0937, 0.5, 0.4688),
    "square": Polynomial(1.0, 0.0, 0.0),
}


def spiky(rows: int, columns: int, seed: int = 0) -> Data:
    """Standardized columns that are mostly zero with heavy tails, as word frequencies are."""
    rng = np.random.default_rng(seed)
    X = np.exp(2.0 * rng.standard_normal((rows, columns)))
    X *= rng.random((rows, columns)) < 0.2
    spread = X.std(axis=0)
    X = (X - X.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    y = X[:, 0] - 0.3 * X[:, -1] + 0.3 * rng.standard_normal(rows)
    return np.column_stack([X, np.ones(rows)]), y


def duplicated(rows: int, columns: int, change: Callable[[np.ndarray], np.ndarray]) -> Data:
    """Each row three times, the third with another target."""
    X, y = planted(rows, columns)
    return np.vstack([X, X, X]), np.concatenate([y, y, change(y)])


def signs(rows: int, columns: int) -> Data:
    X, y = planted(rows, columns)
    return np.where(X > 0.0, 1.0, -1.0), y


SHAPES: dict[str, Callable[[], Data]] = {
    "d 2, n 200": lambda: planted(200, 2),
    "d 5, n 500": lambda: planted(500, 5),
    "d 2, n 15": lambda: planted(15, 2),
    "d 8, n 400": lambda: planted(400, 8),
    "rows repeated": lambda: duplicated(12, 4, lambda y: y + 1.0),
    "rows that contradict": lambda: duplicated(12, 4, np.negative),
    "spiky, d 9, n 200": lambda: spiky(200, 9),
    "spiky, d 3, n 60": lambda: spiky(60, 3, seed=1),
    "spiky, d 12, n 30": lambda: spiky(30, 12, seed=2),
    "one row": lambda: planted(1, 4),
    "two rows": lambda: planted(2, 6),
    "one column": lambda: planted(30, 1),
    "d 12, n 6": lambda: planted(6, 12),
    "d 20, n 60": lambda: planted(60, 20),
    "d 3, n 2000": lambda: planted(2000, 3),
    "d 1, n 1000": lambda: planted(1000, 1),
    "wdbc": lambda: wdbc(100, 8),
    "signs, d 6, n 100": lambda: signs(100, 6),
    "columns of 1e-3 and 1e3": lambda: (
        planted(50, 4)[0] * [1e-3, 1.0, 1.0, 1e3],
        planted(50, 4)[1],
    ),
    "column of zeros": lambda: (planted(40, 4)[0] * [1.0, 1.0, 1.0, 0.0], planted(40, 4)[1]),
}

#: of the cells that stalled: some of each loss
FAST = [
    ("d 2, n 200", "squared", "square", 1e-3),
    ("d 2, n 15", "squared", "square", 1e-4),
    ("d 2, n 200", "hinge", "square", 1e-4),
    ("d 5, n 500", "absolute", "bilinear", 1e-3),
    ("d 5, n 500", "squared_hinge", "square", 1e-6),
    ("d 2, n 15", "logistic", "polynomial", 1e-6),
    ("d 2, n 15", "hinge", "bilinear", 0.3),
    ("d 8, n 400", "absolute", "bilinear", 1e-3),
    ("d 8, n 400", "hinge", "square", 1e-3),
    ("rows repeated", "hinge", "bilinear", 1e-4),
    ("rows repeated", "huber", "square", 1e-6),
    ("rows that contradict", "absolute", "polynomial", 1e-5),
    ("spiky, d 9, n 200", "squared", "bilinear", 1e-3),
    ("spiky, d 3, n 60", "hinge", "polynomial", 1e-2),
    ("one row", "absolute", "bilinear", 1e-6),
]


def make(shape: str, loss: str, activation: str) -> Problem:
    X, y = SHAPES[shape]()
    if issubclass(LOSSES[loss], MarginLoss):
        y = np.where(y > 0.0, 1.0, -1.0)
    return Problem(X, y, 1.0, loss=loss, activation=ACTIVATIONS[activation])


def gap_of(problem: Problem) -> float:
    """The gap of a solve, its bound checked once more and its primal point evaluated anew."""
    found = solve(problem, TOL)
    assert verify(found.certificate, problem.X, problem.y) >= found.lower_bound
    predictions = problem.lift.apply(found.P - found.N)
    value = problem.loss.value(predictions, problem.y) + problem.budget * sum(found.rho)
    assert value <= found.upper_bound * (1.0 + 1e-9)
    return found.gap


@pytest.mark.parametrize(("shape", "loss", "activation", "fraction"), FAST)
def test_what_stalled_is_solved(shape: str, loss: str, activation: str, fraction: float) -> None:
    problem = make(shape, loss, activation)
    assert gap_of(problem.with_beta(fraction * problem.beta_max)) <= TOL


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_cell_is_solved(shape: str, loss: str, activation: str) -> None:
    problem = make(shape, loss, activation)
    gaps = {f: gap_of(problem.with_beta(f * problem.beta_max)) for f in FRACTIONS}
    assert max(gaps.values()) <= TOL, gaps
