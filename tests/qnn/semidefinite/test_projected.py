"""Minima under lower bounds against scipy's, and how the search for them ends."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import Bounds, minimize

from qnn.semidefinite.projected import Evaluate, Evaluated, minimize_projected

Array = np.ndarray


def curved(m: int, seed: int, conditioned: float = 100.0) -> Evaluate:
    """A convex quadratic and fourth powers, whose curvatures differ by this factor."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((m, m)))[0]
    H = (Q * np.geomspace(1.0, conditioned, m)) @ Q.T
    c = rng.standard_normal(m) * 10.0

    def evaluate(x: Array) -> Evaluated:
        value = float(0.5 * x @ H @ x + c @ x + 0.25 * (x**4).sum())
        return Evaluated(x, value, H @ x + c + x**3, False)

    return evaluate


def wanted(evaluate: Evaluate, start: Array, head: int) -> float:
    low = np.where(np.arange(len(start)) < head, -np.inf, 0.0)
    result = minimize(
        lambda x: (evaluate(x).value, evaluate(x).slope),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(low, np.inf),
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000},
    )
    return float(result.fun)


@pytest.mark.parametrize(("m", "head"), [(1, 0), (1, 1), (7, 3), (40, 10), (40, 40), (40, 0)])
def test_the_minimum_is_scipys(m: int, head: int) -> None:
    for seed in range(3):
        evaluate, start = curved(m, seed), np.abs(np.random.default_rng(seed).standard_normal(m))
        last = minimize_projected(evaluate, start, head, 400, 1e-3, 1e-14)
        assert np.all(last.x[head:] >= 0.0)
        assert last.value == pytest.approx(wanted(evaluate, start, head), rel=1e-8, abs=1e-8)
        held = (last.x <= 0.0) & (np.arange(m) >= head)
        assert np.abs(last.slope[~held]).max(initial=0.0) < 1e-2
        assert np.all(last.slope[held] > -1e-2)


def test_no_step_goes_up_and_more_steps_go_further() -> None:
    evaluate, start = curved(30, 1, 1e4), np.ones(30)
    values = [minimize_projected(evaluate, start, 10, k, 1e-3, 0.0).value for k in range(12)]
    assert values[0] == evaluate(start).value
    assert all(later < before for before, later in pairwise(values))


def test_a_straight_line_is_gone_down_in_growing_steps_until_it_is_reached() -> None:
    count = 0

    def falling(x: Array) -> Evaluated:
        nonlocal count
        count += 1
        return Evaluated(x, float(x[0]), np.ones(1), bool(x[0] < -1e6))

    last = minimize_projected(falling, np.zeros(1), 1, 100, 1e-3, 1e-9)
    assert last.reached
    assert last.x[0] < -1e6
    assert count < 20


def test_what_is_reached_at_once_or_cannot_be_bettered_is_returned() -> None:
    x = np.array([0.0, 0.0])
    there = minimize_projected(
        lambda z: Evaluated(z, 1.0, np.array([1.0, -1.0]), True), x, 0, 9, 1.0, 0.0
    )
    assert np.array_equal(there.x, x)
    corner = minimize_projected(
        lambda z: Evaluated(z, float(z.sum()), np.ones(2), False), x, 0, 9, 1.0, 0.0
    )
    assert np.array_equal(corner.x, x)
    # A slope that points up: no step along it is lower, and the start is what is left.
    wrong = minimize_projected(
        lambda z: Evaluated(z, float(z[0]), -np.ones(1), False), x[:1], 1, 9, 1.0, 0.0
    )
    assert np.array_equal(wrong.x, x[:1])
