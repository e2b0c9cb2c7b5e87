"""The inequalities hold at all signs; the tightened bound is that of cvxpy, and never too high."""

from fractions import Fraction
from itertools import combinations, product

import cvxpy as cp
import numpy as np
import pytest

from qnn.certificates.checker import proven_bound, verify
from qnn.certificates.record import Certificate
from qnn.errors import CertificateError, InputError
from qnn.training.fit import train
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.relaxation.tightening import Cuts, larger_sets, tighten, triangles
from tests.qnn.bruteforce import sign_vectors
from tests.qnn.certificates.members import changed, members
from tests.qnn.training.pricing.test_exact import planted, random_problem


def random_point(d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """V, Z of unit vectors in few dimensions: many inequalities are violated."""
    rng = np.random.default_rng(seed)
    R = rng.normal(size=(2 * d, 2))
    R /= np.linalg.norm(R, axis=1)[:, None]
    Q = R @ R.T
    U, W, Z = Q[:d, :d], Q[d:, d:], Q[:d, d:]
    return 0.5 * (U + W), 0.5 * (Z + Z.T)


def all_cuts(d: int, seed: int = 0) -> Cuts:
    V, Z = random_point(d, seed)
    cuts = triangles((V, Z), 1.0, 10**6, -10.0)
    for _ in range(2):
        cuts = cuts.joined(larger_sets((V, Z), 1.0, cuts.kept(np.arange(0, len(cuts), 7)), -10.0))
    return cuts


def test_they_hold_at_all_signs_and_are_tight():
    d = 4
    cuts = all_cuts(d)
    assert set(np.count_nonzero(cuts.vectors, axis=1)) == {3, 5, 7}
    least = np.full(len(cuts), np.inf)
    for u in sign_vectors(d).T:
        for v in sign_vectors(d).T:
            V, Z = np.outer(u, u) + np.outer(v, v), np.outer(u, v) + np.outer(v, u)
            least = np.minimum(least, cuts.constants + cuts.apply(0.5 * V, 0.5 * Z))
    assert np.all(least >= 0.0)
    assert np.all(least == 0.0)


def test_the_adjoint_is_the_adjoint():
    cuts, rng = all_cuts(5), np.random.default_rng(1)
    V, Z = (
        (lambda A: A + A.T)(rng.normal(size=(5, 5))),
        (lambda A: A + A.T)(rng.normal(size=(5, 5))),
    )
    tau = rng.normal(size=len(cuts))
    K_V, K_Z = cuts.adjoint(tau)
    assert np.sum(K_V * V) + np.sum(K_Z * Z) == pytest.approx(tau @ cuts.apply(V, Z))
    dense = np.array([np.concatenate([K.ravel() for K in cuts.kept([t]).adjoint(np.ones(1))])
                      for t in range(len(cuts))])  # fmt: skip
    largest = np.linalg.eigvalsh(dense @ dense.T)[-1]
    assert largest <= cuts.square_norm <= 1.3 * largest


@pytest.mark.parametrize("seed", range(3))
def test_separation_finds_every_violated_triangle(seed):
    d = 5
    V, Z = random_point(d, seed)
    Q = np.block([[V, Z], [Z, V]])
    violated = set()
    for support in combinations(range(2 * d), 3):
        for signs in product((1, -1), repeat=2):
            b = np.zeros(2 * d)
            b[list(support)] = (1, *signs)
            slack = 0.5 * (b @ Q @ b - 3.0) + 1.0
            if slack < -1e-3:
                violated.add(round(slack, 12))
    found = triangles((V, Z), 1.0, 10**6, 1e-3)
    slacks = found.constants + found.apply(V, Z)
    assert {round(slack, 12) for slack in slacks} == violated
    assert np.all(np.diff(slacks) >= 0.0)
    few = triangles((V, Z), 1.0, 4, 1e-3)
    assert np.allclose(few.constants + few.apply(V, Z), slacks[:4])


def test_larger_sets_report_what_they_violate():
    V, Z = random_point(6, 3)
    bases = triangles((V, Z), 1.0, 50, -0.5)
    found = larger_sets((V, Z), 1.0, bases, 1e-2)
    slacks = found.constants + found.apply(V, Z)
    assert len(found) > 10
    assert np.all(slacks < -1e-2)
    assert set(np.count_nonzero(found.vectors, axis=1)) == {5}


def reference(problem: Problem) -> float:
    """The relaxation with all triangles, by cvxpy, on the 2d × 2d matrix that the paper has."""
    d = problem.d
    Q, rho = cp.Variable((2 * d, 2 * d), PSD=True), cp.Variable()
    constraints = [cp.diag(Q) == rho]
    for i, j, k in combinations(range(2 * d), 3):
        for s, t in product((1, -1), repeat=2):
            constraints.append(rho + s * Q[i, j] + t * Q[i, k] + s * t * Q[j, k] >= 0)
    predictions = cp.sum(cp.multiply(problem.X @ Q[:d, d:], problem.X), axis=1)
    objective = 0.5 * cp.sum_squares(predictions - problem.y) + problem.budget * rho
    return float(cp.Problem(cp.Minimize(objective), constraints).solve(solver=cp.CLARABEL))


@pytest.mark.parametrize("seed", range(3))
def test_triangles_alone_give_the_bound_of_cvxpy(seed, monkeypatch):
    monkeypatch.setattr("qnn.training.relaxation.tightening.odd_cuts.LARGER_FROM", -1)
    monkeypatch.setattr("qnn.training.relaxation.tightening.solver.PROGRESS", 1e-9)
    monkeypatch.setattr("qnn.training.relaxation.tightening.solver.ROUNDS", 60)
    problem = planted(d=5, n=30, seed=seed, beta=1.0)
    relaxation = solve(problem, tol=1e-6)
    best = reference(problem)
    bound = tighten(relaxation).certificate.lower_bound
    assert bound <= best * (1 + 1e-7)
    assert bound == pytest.approx(best, rel=2e-4)
    assert best > relaxation.upper_bound * 1.005


def test_the_bound_lies_between_the_relaxation_and_the_optimum():
    closed = []
    for seed in range(12):
        problem = random_problem(seed)
        exact = train(problem, certify="exact")
        trained = train(problem, certify="tightened")
        assert trained.lower_bound <= exact.objective * (1 + 1e-12)
        assert trained.lower_bound >= trained.relaxation.lower_bound
        assert verify(trained.certificate, problem.X, problem.y) >= trained.lower_bound
        closed.append(trained.gap)
    assert np.median(closed) < 1e-3


def test_most_of_the_gap_is_closed():
    problem = planted(d=10, seed=2)
    relaxed, trained = train(problem), train(problem, certify="tightened")
    assert trained.certificate.kind == "tightened"
    assert relaxed.gap > 0.01
    assert trained.gap < 0.2 * relaxed.gap
    assert trained.statistics["inequalities"] > 0


def certificate_and_problem() -> tuple[Certificate, Problem]:
    problem = planted(d=3, n=10, seed=4, beta=1.0)
    certificate = tighten(solve(problem, tol=1e-4)).certificate
    assert certificate.kind == "tightened"
    return certificate, problem


def test_what_is_accepted_is_feasible_in_rational_arithmetic():
    certificate, problem = certificate_and_problem()
    proven_bound(certificate, problem.X, problem.y)
    rows = [[Fraction(x) for x in row] for row in problem.X.tolist()]
    weights = [Fraction(w) for w in certificate.nu.tolist()]
    for u in product((-1, 1), repeat=3):
        for v in product((-1, 1), repeat=3):
            value = sum(
                w * sum(a * x for a, x in zip(u, row, strict=True))
                * sum(b * x for b, x in zip(v, row, strict=True))
                for w, row in zip(weights, rows, strict=True)
            )  # fmt: skip
            assert value <= Fraction(problem.beta) * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {"nu": 1.01 * c.nu}, "a diagonal entry of the dual slack is not proven"),
        (
            lambda c: {"multipliers": 1.01 * c.multipliers},
            "a diagonal entry of the dual slack is not proven",
        ),
        (lambda c: {"multipliers": 0.9 * c.multipliers}, "the diagonal spends more than beta * d"),
        (lambda c: {"multipliers": -c.multipliers}, "a multiplier is negative or not finite"),
        (lambda c: {"cuts": 2 * c.cuts}, "an inequality's vector has an even sum or a large entry"),
        (lambda c: {"cuts": 9 * c.cuts}, "an inequality's vector has an even sum or a large entry"),
        (lambda c: {"cuts": c.cuts[:, 1:]}, "inequalities must be rows of 6, each with a multi"),
        (lambda c: {"cuts": None}, "the inequalities or their multipliers are missing"),
        (lambda c: {"kind": "relaxation"}, "inequalities do not belong to kind 'relaxation'"),
        (lambda c: {"diag": 1.01 * c.diag}, "the diagonal spends more than beta * d"),
    ],
)
def test_tampering_is_refused(change, message):
    certificate, problem = certificate_and_problem()
    assert verify(certificate, problem.X, problem.y) >= certificate.lower_bound
    with pytest.raises(CertificateError) as error:
        verify(changed(certificate, **change(members(certificate))), problem.X, problem.y)
    assert str(error.value).removeprefix("changed: ").startswith(message)


def test_it_survives_a_file(tmp_path):
    certificate, problem = certificate_and_problem()
    certificate.save(tmp_path / "c.npz")
    loaded = Certificate.load(tmp_path / "c.npz")
    assert np.array_equal(members(loaded).cuts, members(certificate).cuts)
    assert verify(loaded, problem.X, problem.y) == verify(certificate, problem.X, problem.y)


def test_other_losses_are_refused_first():
    problem = Problem(np.eye(3), np.array([1.0, -1.0, 1.0]), 0.1, loss="huber")
    with pytest.raises(InputError) as error:
        tighten(solve(problem))
    assert str(error.value) == (
        "certify 'tightened' needs the squared loss: use certify 'relaxation'"
    )
