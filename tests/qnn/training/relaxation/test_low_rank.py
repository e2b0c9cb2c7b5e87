"""The low-rank solver agrees with cvxpy, its certificates verify, and it stops when told."""

import numpy as np
import pytest

from qnn.certificates.checker import verify
from qnn.semidefinite.diagonal import optimal_diagonals
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import SOLVERS, low_rank, reference
from tests.qnn.bruteforce import exact_optimum


def planted(n: int, d: int, seed: int = 0, scale: float = 1.0, loss: str = "squared") -> Problem:
    rng = np.random.default_rng(seed)
    X = np.hstack([rng.normal(size=(n, d - 1)), np.ones((n, 1))])
    U, V = rng.choice([-1.0, 1.0], (2, d, 3))
    y = ((X @ U) * (X @ V)).sum(axis=1) + 0.5 * rng.normal(size=n)
    y = y / np.abs(y).mean() if loss == "squared" else np.where(y > 0, 1.0, -1.0)
    problem = Problem(scale * X, y, beta=1.0, loss=loss)
    return problem


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
@pytest.mark.parametrize("fraction", [0.5, 0.1])
def test_bounds_interlock_with_those_of_the_reference(loss, fraction):
    problem = planted(100, 10, loss=loss)
    problem = problem.with_beta(fraction * problem.beta_max)
    ours = low_rank.solve(problem, tol=1e-3)
    other = reference.solve_clarabel(problem, tol=1e-5)
    assert other.gap <= 1e-5
    assert ours.outcome == "solved"
    assert ours.gap <= 1e-3
    # Each lower bound is below each upper one, and the values agree as far as the gaps say.
    assert ours.lower_bound <= other.upper_bound
    assert other.lower_bound <= ours.upper_bound
    assert ours.upper_bound == pytest.approx(other.upper_bound, rel=1.1e-3)


@pytest.mark.parametrize("scale", [1e-8, 1e-2, 1e8])
def test_the_unit_of_X_does_not_matter(scale):
    problem = planted(100, 8, scale=scale)
    relaxed = low_rank.solve(problem.with_beta(0.2 * problem.beta_max), tol=1e-3)
    assert relaxed.outcome == "solved"
    assert verify(relaxed.certificate, problem.X, problem.y) >= relaxed.lower_bound


def test_the_point_is_feasible_and_its_value_is_the_upper_bound():
    problem = planted(80, 9)
    problem = problem.with_beta(0.2 * problem.beta_max)
    relaxed = low_rank.solve(problem, tol=1e-3)
    P, N, X = relaxed.P, relaxed.N, problem.X
    np.testing.assert_allclose(np.diag(P) + np.diag(N), relaxed.rho[0], rtol=1e-12)
    assert min(np.linalg.eigvalsh(P)[0], np.linalg.eigvalsh(N)[0]) > -1e-12 * relaxed.rho[0]
    residual = np.array([x @ (P - N) @ x for x in X]) - problem.y
    value = 0.5 * residual @ residual + problem.beta * problem.d * relaxed.rho[0]
    assert relaxed.upper_bound == pytest.approx(value, rel=1e-12)


def test_the_lower_bound_is_below_the_enumerated_optimum():
    problem = planted(30, 5)
    problem = problem.with_beta(0.2 * problem.beta_max)
    relaxed = low_rank.solve(problem, tol=1e-3)
    assert verify(relaxed.certificate, problem.X, problem.y) <= exact_optimum(problem) * (1 + 1e-7)


def test_zero_at_beta_max_and_where_the_targets_are_zero():
    problem = planted(40, 6)
    zero = low_rank.solve(problem.with_beta(1.5 * problem.beta_max), tol=1e-6)
    assert zero.rho == (0.0,)
    assert zero.gap <= 1e-6
    nothing = low_rank.solve(Problem(problem.X, np.zeros(40), 1.0))
    assert (nothing.upper_bound, nothing.lower_bound, nothing.gap) == (0.0, 0.0, 0.0)


def test_a_warm_start_saves_steps():
    problem = planted(150, 12)
    first = low_rank.solve(problem.with_beta(0.2 * problem.beta_max), tol=1e-4)
    near = problem.with_beta(0.195 * problem.beta_max)
    warm = low_rank.solve(near, tol=1e-3, warm_start=first)
    assert warm.outcome == "solved"
    assert warm.statistics["iterations"] <= low_rank.solve(near, tol=1e-3).statistics["iterations"]


def test_limits_are_kept_and_the_gap_is_honest():
    problem = planted(150, 12)
    problem = problem.with_beta(0.05 * problem.beta_max)
    seen = []
    short = low_rank.solve(problem, tol=1e-9, max_iterations=3, callback=seen.append)
    assert short.outcome == "iteration_limit"
    assert short.statistics["iterations"] == 3
    assert "iteration limit after 3 steps" in short.message
    assert seen[-1].lower_bound == short.lower_bound
    assert verify(short.certificate, problem.X, problem.y) >= short.lower_bound
    assert low_rank.solve(problem, tol=1e-9, time_limit=1e-3).outcome == "time_limit"
    assert low_rank.solve(problem, tol=1e-12).outcome == "stalled"


def test_what_it_does_not_support_is_said():
    problem = planted(20, 4, loss="hinge")
    assert SOLVERS["low-rank"].supports(problem) == (
        "loss 'hinge' is not smooth enough: choose 'admm', or another loss"
    )
    assert SOLVERS["low-rank"].supports(planted(20, 4)) is None


def test_diagonals_where_features_differ_by_many_orders():
    """Against the dual: a primal point of the same value proves that no diagonal spends less."""
    rng = np.random.default_rng(3)
    sizes = 10.0 ** rng.uniform(-7, 0, 40)
    B = rng.normal(size=(40, 40))
    M = (B + B.T) * sizes[:, None] * sizes[None, :]
    (a,) = optimal_diagonals(M, 1)
    scaled = np.diag(a / sizes**2) - (B + B.T)
    assert np.linalg.eigvalsh(scaled)[0] > -1e-9 * np.abs(scaled).max()
    signs = np.where(rng.normal(size=(40, 4000)) > 0, 1.0, -1.0)
    for _ in range(30):
        signs = np.where(M @ signs >= 0, 1.0, -1.0)
    reached = np.abs(M @ signs).sum(axis=0).max()
    # Grothendieck: the least sum is between the best sign pair and K_G < 1.783 times it.
    assert reached <= a.sum() * (1 + 1e-9) <= 1.783 * reached * (1 + 1e-9)
