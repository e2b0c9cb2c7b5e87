"""The front: choosing, refusing, the zero network."""

from dataclasses import replace

import numpy as np
import pytest

from qnn.certificates import verify
from qnn.errors import InputError
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import SOLVERS, Relaxation, solve
from qnn.training.relaxation import choice as front
from qnn.training.relaxation import solver as base
from qnn.training.relaxation.admm import loop as admm
from tests.qnn.training.relaxation.cases import make_problem, planted


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
        "solver 'cvxpy-scs' would need about 0.2 GiB for 300 rows and a 40 x 40 lift, but 0.0 GiB "
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


def test_the_least_work_is_chosen_and_said() -> None:
    wide = Problem(np.ones((10_000, 200)), np.ones(10_000), 1.0)
    (first, second), why = front._choose(wide, "auto", 1e-2)
    assert (first.name, second.name) == ("low-rank", "admm")
    assert why.startswith("solver low-rank chosen: ")
    assert "Gflop, admm " in why
    (first, second), _ = front._choose(wide, "auto", 1e-6)
    assert (first.name, second.name) == ("admm", "low-rank")
    polynomial = make_problem(planted(40, 5), 0.1, "squared", "polynomial")
    assert [solver.name for solver in front._choose(polynomial, "auto", 1e-2)[0]] == ["admm"]


def test_what_does_not_fit_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "available_memory", lambda: 2.0**33)
    wide = Problem(np.ones((10_000, 150)), np.ones(10_000), 1.0)
    chosen, why = front._choose(wide, "auto", 1e-6)
    assert [solver.name for solver in chosen] == ["admm", "low-rank"]
    monkeypatch.setattr(front, "available_memory", lambda: 2.0**30)
    chosen, why = front._choose(wide, "auto", 1e-6)
    assert [solver.name for solver in chosen] == ["low-rank"]
    assert "; admm needs 1." in why


def test_rows_many_more_than_coefficients_are_compressed() -> None:
    problem = make_problem(planted(3000, 5), 0.1, "squared", "bilinear")
    relaxation = solve(problem, 1e-6)
    assert relaxation.outcome == "solved"
    assert "3000 rows compressed to 15 x 15" in relaxation.message
    assert verify(relaxation.certificate, problem.X, problem.y) >= relaxation.lower_bound


def test_after_a_stall_the_next_solver_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem(planted(40, 5), 0.1, "squared", "bilinear")

    def stalls(problem: Problem, *arguments: object) -> Relaxation:
        return replace(admm.solve(problem, 1e-1), outcome="stalled")

    monkeypatch.setitem(SOLVERS, "admm", replace(SOLVERS["admm"], solve=stalls))
    relaxation = solve(problem, 1e-4)
    assert (relaxation.solver, relaxation.outcome) == ("low-rank", "solved")
    assert "(after solver admm had stalled at a gap of " in relaxation.message
    assert solve(problem, 1e-4, solver="admm").outcome == "stalled"


@pytest.mark.parametrize(("x", "y"), [(5e-324, 1e154), (1e160, 1.0), (1.0, 1e300), (1e-154, 1e20)])
def test_scales_beyond_doubles_are_named_with_their_place(x: float, y: float) -> None:
    X, targets = np.zeros((4, 3)), np.zeros(4)
    X[2, 1], targets[3] = x, y
    with pytest.raises(InputError) as caught:
        solve(Problem(X, targets, 1.0))
    assert str(caught.value) == (
        f"the largest entry of X, {x:g} in row 2, column 1, and of y, {y:g} in row 3, have "
        "products beyond double precision: choose other units, so that both are nearer to 1"
    )
