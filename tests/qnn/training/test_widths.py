"""Objective against width: it falls to the optimum, and no width beats the bound."""

from itertools import combinations

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.training.fit import train
from qnn.training.problems.problem import Problem
from qnn.training.rounding.candidate import build
from qnn.training.widths import narrowest, width_curve
from tests.qnn.bruteforce import sign_vectors


def problem_of(d: int, n: int, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    U, V = rng.choice([-1.0, 1.0], (2, d, 3))
    y = ((X @ U) * (X @ V)) @ rng.normal(size=3) + 0.5 * rng.normal(size=n)
    problem = Problem(X, y, 1.0)
    return problem.with_beta(0.05 * problem.beta_max)


def test_the_curve_falls_to_the_proven_optimum():
    problem = problem_of(8, 80)
    curve = width_curve(problem, certify="exact")
    objectives = [point.objective for point in curve.points]
    assert objectives == sorted(objectives, reverse=True)
    assert all(point.network.neurons <= point.width for point in curve.points)
    assert all(point.gap >= -1e-12 for point in curve.points)
    assert curve.points[-1].gap <= 1e-6
    optimum = train(problem, certify="exact")
    assert curve.points[-1].objective == pytest.approx(optimum.objective, rel=1e-6)
    assert curve.points[0].width == 1
    for point in curve.points:
        assert problem.objective(point.network) == point.objective


def test_widths_of_ones_own():
    problem = problem_of(6, 50)
    curve = width_curve(problem, widths=[4, 2, 2, 500])
    assert [point.width for point in curve.points] == [2, 4, 500]
    with pytest.raises(InputError, match="width must be a whole number"):
        width_curve(problem, widths=[0])


def test_two_neurons_against_all_pairs():
    """d = 3: 16 atoms up to symmetry; every pair of them is tried."""
    for seed in range(4):
        problem = problem_of(3, 20, seed)
        signs = sign_vectors(3)
        atoms = [np.stack([u, v])[:, :, None] for u in signs.T for v in signs.T]
        best = min(
            build(problem, np.concatenate(pair, axis=2), np.zeros(2)).objective
            for pair in combinations(atoms, 2)
        )
        (point,) = width_curve(problem, widths=[2]).points
        assert point.objective >= best * (1 - 1e-9)
        assert point.objective <= best * 1.02


def test_the_narrowest_within_a_gap():
    problem = problem_of(8, 80)
    curve = width_curve(problem, certify="exact")
    found = narrowest(problem, 0.05, certify="exact")
    assert found.gap <= 0.05
    assert found.network.neurons <= found.width < curve.points[-1].width
    assert problem.objective(found.network) == found.objective


def test_a_gap_that_no_network_has_is_refused():
    problem = problem_of(8, 80)
    with pytest.raises(InputError, match="the best network of any width has the gap"):
        narrowest(problem, 1e-5)
    with pytest.raises(InputError, match="gap must be between 0 and 1"):
        narrowest(problem, 0.0)
