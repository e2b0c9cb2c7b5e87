"""Tightening of the polynomial activation: never above the optimum, and that of cvxpy."""

from fractions import Fraction
from itertools import combinations, product

import cvxpy as cp
import numpy as np
import pytest

from qnn.certificates.checker import proven_bound, verify
from qnn.certificates.record import Certificate
from qnn.errors import CertificateError
from qnn.networks.activations import Polynomial
from qnn.training.fit import train
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.relaxation.tightening import larger_sets, tighten, triangles
from tests.qnn.bruteforce import exact_optimum, sign_vectors
from tests.qnn.certificates.members import changed, members

RELU, SQUARE, FALLING = (0.0937, 0.5, 0.4688), (1.0, 0.0, 0.0), (-0.3, 0.5, 0.1)
SIGMAS = (RELU, SQUARE, FALLING)


def problem_of(seed: int, sigma=RELU, d: int = 4, n: int = 12, alphabet="binary") -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    activation = Polynomial(*sigma)
    signs = rng.choice([-1.0, 1.0], (d, 3))
    y = activation.hidden(X, signs, None) @ rng.normal(size=3) + 0.3 * rng.normal(size=n)
    problem = Problem(X, y, 1.0, activation=activation, alphabet=alphabet)
    return problem.with_beta(problem.beta_max * 10.0 ** rng.uniform(-2, -0.1))


def test_inequalities_of_one_matrix_hold_at_all_signs_and_are_all_found():
    d, rng = 6, np.random.default_rng(0)
    R = rng.normal(size=(d, 2))
    R /= np.linalg.norm(R, axis=1)[:, None]
    Q = R @ R.T
    found = triangles((Q,), 1.0, 10**6, 1e-3)
    slacks = found.constants + found.apply(Q)
    violated = set()
    for support in combinations(range(d), 3):
        for signs in product((1, -1), repeat=2):
            b = np.zeros(d)
            b[list(support)] = (1, *signs)
            if 0.5 * (b @ Q @ b - 1.0) < -1e-3:
                violated.add(round(0.5 * (b @ Q @ b - 1.0), 12))
    assert {round(slack, 12) for slack in slacks} == violated != set()
    cuts = triangles((Q,), 1.0, 10**6, -10.0)
    larger = larger_sets((Q,), 1.0, cuts, 1e-2)
    assert np.all(larger.constants + larger.apply(Q) < -1e-2)
    cuts = cuts.joined(larger)
    assert set(np.count_nonzero(cuts.vectors, axis=1)) == {3, 5}
    values = [cuts.constants + cuts.apply(np.outer(u, u)) for u in sign_vectors(d).T]
    assert np.all(np.min(values, axis=0) == 0.0)
    tau, A = rng.normal(size=len(cuts)), Q + np.eye(d)
    (K,) = cuts.adjoint(tau)
    assert np.sum(K * A) == pytest.approx(tau @ cuts.apply(A))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_bound_lies_between_the_relaxation_and_the_enumerated_optimum(sigma):
    closed = []
    for seed, alphabet in product(range(8), ("binary", 2)):
        problem = problem_of(seed, sigma, d=3, alphabet=alphabet)
        relaxation = solve(problem, tol=1e-6)
        certificate = tighten(relaxation).certificate
        optimum = exact_optimum(problem)
        bound = verify(certificate, problem.X, problem.y)
        assert relaxation.lower_bound <= certificate.lower_bound <= bound
        assert bound <= optimum * (1 + 1e-7)
        closed.append((optimum - bound) / optimum)
    assert np.median(closed) < 1e-3


def reference(problem: Problem) -> float:
    """The relaxation with all triangles, by cvxpy."""
    lift = problem.lift
    D = lift.size
    blocks = [cp.Variable((D, D), PSD=True) for _ in range(2)]
    rho = [cp.Variable() for _ in range(2)]
    constraints = [cp.diag(Q) == r for Q, r in zip(blocks, rho, strict=True)]
    for i, j, k in combinations(range(D), 3):
        for (Q, r), s, t in product(zip(blocks, rho, strict=True), (1, -1), (1, -1)):
            constraints.append(r + s * Q[i, j] + t * Q[i, k] + s * t * Q[j, k] >= 0)
    Z = cp.multiply(lift.template, blocks[0] - blocks[1])
    predictions = cp.sum(cp.multiply(lift.features @ Z, lift.features), axis=1)
    objective = 0.5 * cp.sum_squares(predictions - problem.y) + problem.budget * cp.sum(rho)
    return float(cp.Problem(cp.Minimize(objective), constraints).solve(solver=cp.CLARABEL))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_triangles_alone_give_the_bound_of_cvxpy(sigma, monkeypatch):
    monkeypatch.setattr("qnn.training.relaxation.tightening.cuts.LARGER_FROM", -1)
    monkeypatch.setattr("qnn.training.relaxation.tightening.solver.PROGRESS", 1e-9)
    monkeypatch.setattr("qnn.training.relaxation.tightening.solver.ROUNDS", 60)
    problem = problem_of(1, sigma, d=6, n=30)
    problem = problem.with_beta(0.1 * problem.beta_max)
    relaxation = solve(problem, tol=1e-6)
    best = reference(problem)
    bound = tighten(relaxation).certificate.lower_bound
    assert bound <= best * (1 + 1e-7)
    assert bound == pytest.approx(best, rel=2e-4)
    assert best > relaxation.upper_bound * 1.0005


def test_most_of_the_gap_is_closed():
    problem = problem_of(3, RELU, d=10, n=60)
    problem = problem.with_beta(0.1 * problem.beta_max)
    trained = train(problem, certify="tightened")
    relaxed = 1.0 - trained.relaxation.lower_bound / trained.objective
    assert trained.certificate.kind == "tightened"
    assert relaxed > 0.01
    assert trained.gap < 0.2 * relaxed


@pytest.fixture(scope="module")
def tightened() -> tuple[Certificate, Problem]:
    problem = problem_of(1, RELU, d=3)
    problem = problem.with_beta(0.1 * problem.beta_max)
    certificate = tighten(solve(problem, tol=1e-6)).certificate
    assert certificate.kind == "tightened"
    return certificate, problem


def test_what_is_accepted_is_feasible_in_rational_arithmetic(tightened):
    certificate, problem = tightened
    proven_bound(certificate, problem.X, problem.y)
    a, b, c = (Fraction(value) for value in certificate.polynomial)
    for u in product((-1, 1), repeat=3):
        total = Fraction(0)
        for w, row in zip(certificate.nu.tolist(), problem.X.tolist(), strict=True):
            t = sum(s * Fraction(x) for s, x in zip(u, row, strict=True))
            total += Fraction(w) * ((a * t + b) * t + c)
        assert abs(total) <= Fraction(problem.beta) * 3


SPENT = "the diagonal spends more than beta * d"
UNPROVEN = "the dual slack is not proven positive"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {"nu": 1.01 * c.nu}, UNPROVEN),
        (lambda c: {"nu": -c.nu}, UNPROVEN),
        (lambda c: {"multipliers": 1.01 * c.multipliers}, UNPROVEN),
        (lambda c: {"multipliers": 0.9 * c.multipliers}, SPENT),
        (lambda c: {"multipliers": np.roll(c.multipliers, len(c.cuts))}, ""),
        (lambda c: {"multipliers": -c.multipliers}, "a multiplier is negative or not finite"),
        (lambda c: {"multipliers": c.multipliers[: len(c.cuts)]}, "inequalities must be rows of 4"),
        (lambda c: {"cuts": 2 * c.cuts}, "an inequality's vector has an even sum or a large entry"),
        (lambda c: {"cuts": c.cuts[:, 1:]}, "inequalities must be rows of 4, each with two mult"),
        (lambda c: {"diag_positive": 1.01 * c.diag_positive}, SPENT),
        (lambda c: {"diag_negative": 1.01 * c.diag_negative}, SPENT),
        (lambda c: {"diag_positive": None}, "diag_positive does not belong to this activation, or"),
        (lambda c: {"kind": "relaxation"}, "inequalities do not belong to kind 'relaxation'"),
    ],
)
def test_tampering_is_refused(tightened, change, message):
    certificate, problem = tightened
    assert verify(certificate, problem.X, problem.y) >= certificate.lower_bound
    with pytest.raises(CertificateError) as error:
        verify(changed(certificate, **change(members(certificate))), problem.X, problem.y)
    assert message in str(error.value)


def test_it_survives_a_file(tightened, tmp_path):
    certificate, problem = tightened
    certificate.save(tmp_path / "c.npz")
    loaded = Certificate.load(tmp_path / "c.npz")
    assert np.array_equal(members(loaded).cuts, members(certificate).cuts)
    assert verify(loaded, problem.X, problem.y) == verify(certificate, problem.X, problem.y)
