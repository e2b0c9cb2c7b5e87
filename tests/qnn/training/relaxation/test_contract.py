"""What every solver promises, on every problem."""

from itertools import product

import cvxpy as cp
import numpy as np
import pytest

from qnn.certificates import verify
from qnn.errors import InputError
from qnn.losses import LOSSES
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import SOLVERS, Progress, Relaxation, solve
from qnn.training.relaxation.admm import search
from tests.qnn.training.pricing.test_exact import random_problem
from tests.qnn.training.relaxation.cases import ACTIVATIONS, CASES, make_problem, planted

# Degenerate data where first-order steps on a loss with kinks may stop early, with honest bounds.
KINKS = ("hinge", "absolute", "huber", "squared_hinge")
HARD = ("tiny beta", "tiny data", "tiny data, huge targets")

OWN = [name for name in SOLVERS if not name.startswith("cvxpy")]
REFERENCE = [name for name in SOLVERS if name.startswith("cvxpy")]


@pytest.mark.parametrize("seed", [76, 222, 370, 376])
def test_few_rows_of_large_entries_where_bold_steps_stalled(seed: int) -> None:
    problem = random_problem(seed)
    relaxation = solve(problem, 1e-4, solver="admm")
    assert relaxation.outcome == "solved"
    check_bounds(relaxation, 1e-4)


def check_feasible(relaxation: Relaxation) -> None:
    problem, P, N = relaxation.problem, relaxation.P, relaxation.N
    size = max(float(np.trace(P) + np.trace(N)), 1e-300)
    for block in (P, N):
        np.testing.assert_allclose(block, block.T, atol=1e-13 * size)
        assert np.linalg.eigvalsh(block)[0] >= -1e-12 * size
    if problem.lift.pairs:
        np.testing.assert_allclose(np.diag(P + N), relaxation.rho[0], atol=1e-12 * size)
    else:
        np.testing.assert_allclose(np.diag(P), relaxation.rho[0], atol=1e-12 * size)
        np.testing.assert_allclose(np.diag(N), relaxation.rho[1], atol=1e-12 * size)
    predictions = problem.lift.apply(P - N)
    tolerance = 1e-9 * max(np.abs(predictions).max(), 1e-300)
    np.testing.assert_allclose(relaxation.predictions, predictions, rtol=0.0, atol=tolerance)
    value = problem.loss.value(predictions, problem.y) + problem.budget * sum(relaxation.rho)
    assert relaxation.upper_bound == pytest.approx(value, rel=1e-9)


def check_bounds(relaxation: Relaxation, tol: float) -> None:
    problem = relaxation.problem
    assert verify(relaxation.certificate, problem.X, problem.y) >= relaxation.lower_bound
    assert relaxation.upper_bound >= relaxation.lower_bound
    assert relaxation.outcome in ("solved", "time_limit", "iteration_limit", "stalled")
    assert (relaxation.outcome == "solved") == (relaxation.gap <= tol)
    assert relaxation.statistics["seconds"] >= 0.0
    assert relaxation.message


@pytest.mark.parametrize("solver", OWN)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_own_solvers_close_the_gap(solver: str, case: str, activation: str, loss: str) -> None:
    make, fraction = CASES[case]
    problem = make_problem(make(), fraction, loss, activation)
    if SOLVERS[solver].supports(problem) is not None:
        with pytest.raises(InputError, match="cannot take this problem"):
            solve(problem, solver=solver)
        return
    hard = loss in KINKS and case in HARD
    relaxation = solve(problem, tol=1e-4, solver=solver, max_iterations=1500 if hard else None)
    check_feasible(relaxation)
    check_bounds(relaxation, 1e-4)
    if not hard:
        assert relaxation.outcome == "solved", relaxation.message


@pytest.mark.parametrize("solver", REFERENCE)
@pytest.mark.parametrize("case", ["planted", "wdbc", "huge data", "one row", "zero targets"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_reference_agrees_with_ours(solver: str, case: str, activation: str, loss: str) -> None:
    make, fraction = CASES[case]
    problem = make_problem(make(), fraction, loss, activation)
    reference = solve(problem, tol=1e-5, solver=solver)
    check_feasible(reference)
    check_bounds(reference, 1e-5)
    ours = solve(problem, tol=2e-6)
    assert ours.upper_bound == pytest.approx(reference.upper_bound, rel=1e-5)
    assert ours.lower_bound <= reference.upper_bound
    assert reference.lower_bound <= ours.upper_bound


def optimum_of_all_networks(problem: Problem) -> float:
    """Brute force: the l1 problem over all sign vectors (bilinear: pairs)."""
    signs = np.array(list(product((-1.0, 1.0), repeat=problem.d))).T
    if problem.lift.pairs:
        half = signs[:, signs[0] > 0.0]
        pairs = [(i, j) for i in range(half.shape[1]) for j in range(i, half.shape[1])]
        first, second = np.array(pairs).T
        U, V = half[:, first], half[:, second]
        hidden = problem.activation.hidden(problem.X, U, V)
    else:
        hidden = problem.activation.hidden(problem.X, signs, None)
    alpha = cp.Variable(hidden.shape[1])
    predictions, y = hidden @ alpha, problem.y
    losses = {
        "squared": lambda: 0.5 * cp.sum_squares(predictions - y),
        "logistic": lambda: cp.sum(cp.logistic(-cp.multiply(y, predictions))),
        "hinge": lambda: cp.sum(cp.pos(1 - cp.multiply(y, predictions))),
        "squared_hinge": lambda: 0.5 * cp.sum_squares(cp.pos(1 - cp.multiply(y, predictions))),
        "huber": lambda: 0.5 * cp.sum(cp.huber(predictions - y, problem.loss.parameter)),
        "absolute": lambda: cp.norm1(predictions - y),
    }
    objective = losses[problem.loss.name]() + problem.budget * cp.norm1(alpha)
    return float(cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("n", "d", "fraction"), [(25, 4, 0.2), (12, 5, 0.05), (30, 2, 0.5)])
def test_lower_bound_is_below_every_network(
    activation: str, loss: str, n: int, d: int, fraction: float
) -> None:
    problem = make_problem(planted(n, d, seed=n), fraction, loss, activation)
    optimum = optimum_of_all_networks(problem)
    for solver in OWN:
        if SOLVERS[solver].supports(problem) is None:
            relaxation = solve(problem, tol=1e-6, solver=solver)
            assert relaxation.lower_bound <= optimum * (1.0 + 1e-7)
            # The relaxation is not far off: Krivine's constant bounds it for the bilinear one.
            if activation == "bilinear":
                assert optimum <= 1.7823 * relaxation.upper_bound * (1.0 + 1e-7)


@pytest.mark.parametrize("solver", OWN)
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_early_stop_keeps_an_honest_certificate(solver: str, loss: str) -> None:
    problem = make_problem(planted(80, 12), 0.05, loss, "bilinear")
    if SOLVERS[solver].supports(problem) is not None:
        return
    cut = solve(problem, tol=1e-9, solver=solver, max_iterations=2)
    check_feasible(cut)
    check_bounds(cut, 1e-9)
    assert cut.outcome == "iteration_limit"
    hurried = solve(problem, tol=1e-15, solver=solver, time_limit=1e-3)
    check_feasible(hurried)
    check_bounds(hurried, 1e-15)
    assert hurried.outcome in ("time_limit", "stalled")


@pytest.mark.parametrize("solver", OWN)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_warm_start_reaches_the_same_value(solver: str, activation: str, loss: str) -> None:
    problem = make_problem(planted(60, 8), 0.2, loss, activation)
    if SOLVERS[solver].supports(problem) is not None:
        return
    first = solve(problem, tol=1e-4, solver=solver)
    following = problem.with_beta(0.7 * problem.beta)
    warm = solve(following, tol=1e-5, solver=solver, warm_start=first)
    cold = solve(following, tol=1e-5, solver=solver)
    check_feasible(warm)
    check_bounds(warm, 1e-5)
    assert warm.outcome == "solved"
    assert warm.upper_bound == pytest.approx(cold.upper_bound, rel=2e-5)


@pytest.mark.parametrize("solver", OWN)
def test_progress_is_reported_and_improves(solver: str) -> None:
    seen: list[Progress] = []
    problem = make_problem(planted(60, 8), 0.1, "squared", "bilinear")
    relaxation = solve(problem, tol=1e-6, solver=solver, callback=seen.append)
    assert seen
    lowers = [progress.lower_bound for progress in seen]
    assert lowers == sorted(lowers)
    assert seen[-1].lower_bound == relaxation.lower_bound
    assert all(progress.gap >= 0.0 for progress in seen)


def test_a_dual_point_that_proves_less_than_was_estimated_does_not_hide_better_ones(monkeypatch):
    """The first look claims a closed gap of a dual point that proves nothing."""
    look, looks = search.Search._look_at_dual, []

    def wrong_once(self, *arguments):
        looks.append(self.lower)
        if len(looks) == 1:
            self.lower = self.upper
        else:
            look(self, *arguments)

    monkeypatch.setattr(search.Search, "_look_at_dual", wrong_once)
    relaxation = solve(make_problem(planted(40, 4), 0.1, "squared", "bilinear"), solver="admm")
    assert relaxation.outcome == "solved", relaxation.message
    assert relaxation.statistics["iterations"] < 200
    assert len(looks) > 1
    check_bounds(relaxation, 1e-4)
