"""Leaves raise the tightened bound, never above the optimum; inequalities hold at all signs."""

import time
from functools import partial

import numpy as np
import pytest

from qnn.certificates import Certificate, verify
from qnn.semidefinite.diagonal import dominating_diagonal, optimal_diagonals
from qnn.training import certification
from qnn.training.fit import train
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.relaxation.tightening import Cuts, branch, branched, tighten
from qnn.training.relaxation.tightening.odd_cuts import OddCuts, stacked, violated
from tests.qnn.bruteforce import sign_vectors
from tests.qnn.training.pricing.test_exact import planted, random_problem
from tests.qnn.training.relaxation.tightening.test_tightening import random_point


@pytest.fixture(autouse=True)
def _fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branched, "STEPS", 60)


def odd_cuts(d: int, seed: int) -> OddCuts:
    rows = violated(
        stacked(*random_point(d, seed)), np.zeros((0, 2 * d), dtype=np.int8), np.ones(d, bool)
    )
    return OddCuts(rows, np.random.default_rng(seed).uniform(0.0, 1.0, len(rows)))


def test_slacks_and_the_adjoint_are_those_of_the_other_inequalities():
    cuts, d, rho = odd_cuts(6, 1), 6, 0.7
    V, Z = (rho * A for A in random_point(d, 2))
    other = Cuts(cuts.rows, d)
    assert np.allclose(cuts.constants, other.constants)
    assert np.allclose(cuts.slacks(V, Z, rho), other.constants * rho + other.apply(V, Z))
    for K, L in zip(cuts.adjoint(cuts.tau), other.adjoint(cuts.tau), strict=True):
        assert np.allclose(K, L)


def test_scaled_inequalities_are_alike_and_their_largest_eigenvalue_is_known():
    cuts = odd_cuts(6, 1)
    rows = [np.concatenate([K.ravel() for K in cuts.adjoint(e)]) for e in np.eye(len(cuts))]
    scaled = np.sqrt(cuts.scales)[:, None] * np.array(rows)
    squares = (scaled**2).sum(axis=1)
    assert 0.7 < squares.min() < squares.max() < 2.0
    largest = np.linalg.norm(scaled, 2) ** 2
    assert largest <= cuts.square_norm <= 1.1 * largest


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_is_violated_and_holds_at_all_signs(seed: int):
    d, V_Z = 5, random_point(5, seed)
    free = np.arange(d) % 3 != seed % 3
    rows = violated(stacked(*V_Z), np.zeros((0, 2 * d), dtype=np.int8), free)
    assert len(rows)
    # Where v is a copy of u, one of them says all.
    assert not np.any((rows[:, :d] != 0) & (rows[:, d:] != 0) & ~free)
    assert np.all(OddCuts(rows, np.ones(len(rows))).slacks(*V_Z, 1.0) < -1e-3)
    signs = sign_vectors(2 * d)
    assert np.all(np.abs(rows.astype(float) @ signs) >= 1.0)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_the_least_diagonal_is_that_of_the_other_solver():
    rng = np.random.default_rng(0)
    M = rng.normal(size=(12, 12))
    M = M + M.T
    (best,) = optimal_diagonals(M, 1, tol=1e-9)
    guess = np.abs(M).sum(axis=1) * 0.7
    found = dominating_diagonal((M, -M), guess, (np.eye(12), np.eye(12)), 1e-7)
    assert found.sum() == pytest.approx(best.sum(), rel=1e-6)
    for sign in (1.0, -1.0):
        assert np.linalg.eigvalsh(np.diag(found) - sign * M)[0] >= -1e-9


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_lies_between_the_tightened_one_and_the_optimum(seed: int):
    problem = random_problem(seed)
    optimum = train(problem, certify="exact").objective
    tightened = tighten(solve(problem, tol=1e-4))
    if tightened.state is None:
        return
    found = branch(tightened.state, tightened.certificate, np.inf, most_leaves=4)
    assert tightened.certificate.lower_bound <= found.certificate.lower_bound
    assert found.certificate.lower_bound <= optimum * (1.0 + 1e-12)
    again = Certificate.from_bytes(found.certificate.to_bytes())
    assert verify(again, problem.X, problem.y) >= again.lower_bound


def test_leaves_close_much_of_what_inequalities_leave_whatever_the_threads():
    problem = planted(d=12, n=60, seed=1, beta=1.0)
    optimum = train(problem, certify="exact").objective
    tightened = tighten(solve(problem, tol=1e-4), optimum)
    before = optimum - tightened.certificate.lower_bound
    assert tightened.state is not None
    assert before > 0.005 * optimum
    found = [
        branch(tightened.state, tightened.certificate, optimum, most_leaves=4, threads=threads)
        for threads in (1, 3)
    ]
    assert found[0].certificate.to_bytes() == found[1].certificate.to_bytes()
    assert found[0].certificate.method == "agreements"
    assert found[0].leaves == len(found[0].certificate.proof.leaves) > 1
    assert 0.0 <= optimum - found[0].certificate.lower_bound < 0.9 * before
    assert verify(found[0].certificate, problem.X, problem.y) >= found[0].certificate.lower_bound


def test_weighted_rows_have_a_bound_of_their_own():
    rng = np.random.default_rng(3)
    problem = planted(d=8, n=40, seed=3, beta=1.0).with_weights(rng.uniform(0.2, 3.0, 40))
    optimum = train(problem, certify="exact").objective
    tightened = tighten(solve(problem, tol=1e-4), optimum)
    assert tightened.state is not None
    found = branch(tightened.state, tightened.certificate, optimum, most_leaves=4)
    assert tightened.certificate.lower_bound <= found.certificate.lower_bound <= optimum
    assert verify(found.certificate, problem.X, problem.y) >= found.certificate.lower_bound


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_the_data_does_not_matter(scale: float):
    plain = planted(d=6, n=30, seed=5, beta=1.0)
    problem = Problem(plain.X * scale, plain.y, plain.beta * scale**2)
    tightened = tighten(solve(problem, tol=1e-4))
    assert tightened.state is not None
    found = branch(tightened.state, tightened.certificate, np.inf, most_leaves=3)
    optimum = train(plain, certify="exact").objective
    assert (
        tightened.certificate.lower_bound <= found.certificate.lower_bound <= optimum * (1 + 1e-9)
    )


def test_time_that_is_over_leaves_what_was_proven():
    problem = planted(d=8, n=40, seed=2, beta=1.0)
    tightened = tighten(solve(problem, tol=1e-4))
    assert tightened.state is not None
    found = branch(tightened.state, tightened.certificate, np.inf, deadline=time.monotonic() - 1.0)
    assert found.certificate.lower_bound >= tightened.certificate.lower_bound


@pytest.mark.parametrize("in_time", [True, False])
def test_with_time_left_the_bound_rises_until_it_stalls(in_time, monkeypatch):
    problem = planted(d=8, n=40, seed=2, beta=1.0)
    tightened = tighten(solve(problem, tol=1e-4))
    assert tightened.state is not None
    monkeypatch.setattr(branched._Tree, "in_time", lambda tree: in_time)
    stages: list[int] = []
    found = branch(
        tightened.state,
        tightened.certificate,
        np.inf,
        deadline=time.monotonic() + 3600.0,
        callback=lambda progress: stages.append(progress.iteration),
        most_leaves=3,
    )
    # Two stages without a gain are the last; where no stage with more leaves fits there is one.
    assert len(stages) >= branched.IDLE_STAGES
    assert found.leaves <= (3 if in_time else 1)
    assert found.certificate.lower_bound >= tightened.certificate.lower_bound
    assert verify(found.certificate, problem.X, problem.y) >= found.certificate.lower_bound


def test_exact_training_of_many_columns_ends_with_leaves(monkeypatch: pytest.MonkeyPatch):
    # As if the problem were too large for the exact pricing: it is given no time.
    monkeypatch.setattr(certification, "SURE_COLUMNS", 5)
    monkeypatch.setattr(certification, "EXACT_SHARE", 0.0)
    # Leaves are counted, not timed: a slow machine proves the same.
    monkeypatch.setattr(certification, "branch", partial(branch, most_leaves=4))
    problem = planted(d=12, n=60, seed=1, beta=1.0)
    plain = train(problem, certify="tightened")
    histories: list[float] = []
    trained = train(
        problem,
        certify="exact",
        time_limit=3600.0,
        callback=lambda progress: histories.append(progress.lower_bound),
    )
    assert trained.certificate.method == "agreements"
    assert trained.statistics["leaves"] > 1
    assert trained.lower_bound > plain.lower_bound
    assert histories == sorted(histories)
    assert verify(trained.certificate, problem.X, problem.y) >= trained.lower_bound
