"""The front: choosing, refusing, the zero network."""

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.problem import Problem
from qnn.solvers import SOLVERS, base, front, solve
from tests.qnn.solvers.cases import make_problem, planted


def test_unknown_solver() -> None:
    X, y = planted(5, 2)
    with pytest.raises(InputError) as caught:
        solve(Problem(X, y, 1.0), solver="newton")
    assert str(caught.value) == (
        f"solver 'newton' is not known: choose one of auto, {', '.join(SOLVERS)}"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tol": 0.0}, "tol must be positive (got 0.0)"),
        ({"tol": float("nan")}, "tol must be positive (got nan)"),
        ({"time_limit": -1.0}, "time_limit must be positive seconds (got -1.0)"),
        ({"max_iterations": 0}, "max_iterations must be at least 1 (got 0)"),
    ],
)
def test_bad_limits(arguments: dict[str, float], message: str) -> None:
    X, y = planted(5, 2)
    with pytest.raises(InputError) as caught:
        solve(Problem(X, y, 1.0), **arguments)
    assert str(caught.value) == message


def test_too_large_is_refused_before_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "available_memory", lambda: 2.0**20)
    monkeypatch.setattr(base, "available_memory", lambda: 2.0**20)
    X, y = planted(300, 40)
    problem = Problem(X, y, 1.0)
    with pytest.raises(InputError) as caught:
        solve(problem, solver="cvxpy-scs")
    assert str(caught.value) == (
        "solver 'cvxpy-scs' would need about 0.3 GiB for 300 rows and a 40 x 40 lift, but 0.0 GiB "
        "are free: choose another solver, fewer features or fewer rows"
    )
    # Nothing at all fits in a kilobyte, not even the low-rank solver, once small needs are asked.
    monkeypatch.setattr(front, "_ALWAYS_THERE", 0.0)
    monkeypatch.setattr(front, "available_memory", lambda: 2.0**10)
    monkeypatch.setattr(base, "available_memory", lambda: 2.0**10)
    with pytest.raises(InputError, match=r"would need about .* GiB for 300 rows"):
        solve(problem)


def test_zero_network_at_beta_max() -> None:
    problem = make_problem(planted(40, 5), 1.0, "squared", "bilinear")
    relaxation = solve(problem, tol=1e-6)
    assert relaxation.outcome == "solved"
    assert not relaxation.P.any()
    assert not relaxation.N.any()
    assert relaxation.upper_bound == problem.loss.value(np.zeros(problem.n), problem.y)
    assert relaxation.message == (
        f"beta {problem.beta:g} is at least beta_max {problem.beta_max:g}: the zero network"
    )


def test_just_below_beta_max_is_not_zero() -> None:
    problem = make_problem(planted(40, 5), 0.98, "squared", "bilinear")
    relaxation = solve(problem, tol=1e-6)
    assert relaxation.P.any() or relaxation.N.any()


def test_message_says_which_solver_and_why() -> None:
    problem = make_problem(planted(40, 5), 0.1, "squared", "bilinear")
    assert "chosen: " in solve(problem).message
    assert solve(problem, solver="admm").message.endswith("(solver admm as asked)")
    assert solve(problem, solver="admm").solver == "admm"
