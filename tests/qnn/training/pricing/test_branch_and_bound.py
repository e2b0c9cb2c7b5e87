"""Branch and bound against the enumeration; its leaves against every lie that one could tell."""

import time

import numpy as np
import pytest

from qnn.certificates import Certificate
from qnn.certificates.checker import verify
from qnn.certificates.proofs.branching import check_leaves
from qnn.errors import CertificateError
from qnn.networks.activations import Polynomial
from qnn.training.fit import train
from qnn.training.pricing import exact
from qnn.training.pricing.branch_and_bound import branch_and_bound
from qnn.training.pricing.enumeration import enumerate_signs, forming_error
from qnn.training.problems.problem import Problem
from tests.qnn.bruteforce import sign_vectors
from tests.qnn.certificates.members import changed, members


def matrix(seed: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((d, d)) * rng.choice([0.0, 1.0, 10.0], (d, d))
    return A + A.T


def maximum(M: np.ndarray) -> float:
    return float(np.abs(M @ sign_vectors(len(M))).sum(axis=0).max())


def test_the_leaves_cover_every_sign_vector_once():
    M = matrix(4, 9)
    tree = branch_and_bound(M, maximum(M) * 1.0001)
    assert len(tree.signs) > 5
    for u in sign_vectors(9).T:
        fits = np.all((tree.signs == 0) | (tree.signs == u), axis=1)
        mirrored = np.all((tree.signs == 0) | (tree.signs == -u), axis=1)
        assert fits.sum() + mirrored.sum() == 1
        leaf = int(np.flatnonzero(fits | mirrored)[0])
        bound = 0.5 * float(tree.diagonals[leaf].sum(dtype=float))
        assert np.abs(M @ u).sum() <= bound * (1 + 1e-9)


def test_larger_than_an_enumeration_by_hand():
    M = matrix(1, 24)
    largest = enumerate_signs(M).maximum
    tree = branch_and_bound(M, largest * (1 + 5e-6))
    assert tree.complete
    assert largest * (1 - 1e-12) <= tree.upper_bound <= largest * (1 + 5e-6)
    assert tree.nodes < 2**14


def test_out_of_time_or_room_the_bound_still_holds():
    M = matrix(2, 20)
    largest = enumerate_signs(M).maximum
    for tree in (
        branch_and_bound(M, largest, deadline=time.monotonic()),
        branch_and_bound(M, largest * (1 + 1e-9), most_open=8),
    ):
        assert not tree.complete
        assert tree.upper_bound >= largest


def planted(d: int, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(8 * d, d))
    U, V = rng.choice([-1.0, 1.0], (2, d, 3))
    y = ((X @ U) * (X @ V)) @ rng.normal(size=3) + rng.normal(size=8 * d)
    problem = Problem(X, y, 1.0)
    return problem.with_beta(0.2 * problem.beta_max)


@pytest.fixture
def branching(monkeypatch):
    """Branch and bound also where an enumeration would be quicker."""
    monkeypatch.setattr(exact, "ENUMERATED", 0)


@pytest.mark.parametrize("seed", range(6))
def test_it_proves_the_optimum_that_the_enumeration_proves(seed, monkeypatch):
    problem = planted(5 + seed, seed)
    enumerated = train(problem, certify="exact")
    monkeypatch.setattr(exact, "ENUMERATED", 0)
    branched = train(problem, certify="exact")
    assert branched.certificate.method == "branch_and_bound"
    assert enumerated.certificate.method == "enumeration"
    assert branched.gap <= 1e-5
    assert branched.objective == pytest.approx(enumerated.objective, rel=1e-6)
    assert branched.lower_bound <= enumerated.objective
    assert verify(branched.certificate, problem.X, problem.y) >= branched.lower_bound


@pytest.mark.parametrize("most", [0, 99])
def test_a_search_from_many_starts_comes_before_the_tree_alone(most: int, monkeypatch):
    monkeypatch.setattr(exact, "ENUMERATED", most)
    started: list[int] = []
    price = exact.price

    def counted(*arguments, **options):
        started.append(max(arguments[3:], default=0))
        return price(*arguments, **options)

    monkeypatch.setattr(exact, "price", counted)
    train(planted(6), certify="exact")
    assert (exact.THOROUGH in started) == (most == 0)


def certificate_and_problem() -> tuple[Certificate, Problem]:
    problem = planted(8)
    return train(problem, certify="exact").certificate, problem


def test_it_survives_a_file(branching, tmp_path):
    certificate, problem = certificate_and_problem()
    certificate.save(tmp_path / "c.npz")
    loaded = Certificate.load(tmp_path / "c.npz")
    assert np.array_equal(members(loaded).leaves, members(certificate).leaves)
    assert verify(loaded, problem.X, problem.y) >= certificate.lower_bound


def without(rows: np.ndarray, gone: int) -> np.ndarray:
    return np.delete(rows, gone, axis=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {"leaves": without(c.leaves, 0),
                    "leaf_diagonals": without(c.leaf_diagonals, 0)}, "do not cover"),
        (lambda c: {"leaves": c.leaves[:1], "leaf_diagonals": c.leaf_diagonals[:1]},
         "do not cover"),
        (lambda c: {"leaves": -np.sign(c.leaves - 0.5).astype(np.int8)}, "do not cover"),
        (lambda c: {"leaf_diagonals": 0.99 * c.leaf_diagonals}, "not proven"),
        (lambda c: {"leaf_diagonals": np.float32(1.01) * c.leaf_diagonals}, "exceed the budget"),
        (lambda c: {"leaf_diagonals": -c.leaf_diagonals}, "negative or not finite"),
        (lambda c: {"leaf_diagonals": c.leaf_diagonals[:, :-1]}, "numbers each"),
        (lambda c: {"leaves": None}, "missing"),
        (lambda c: {"leaves": 2 * c.leaves}, "must be -1, 0 or \\+1"),
        (lambda c: {"nu": 1.001 * c.nu}, "not proven"),
        (lambda c: {"method": "enumeration"}, "do not belong"),
        (lambda c: {"method": "faith"}, "unknown method"),
        (lambda c: {"lower_bound": c.lower_bound * 1.001}, "only .* is proven"),
    ],
)  # fmt: skip
def test_every_lie_is_found(branching, change, message):
    certificate, problem = certificate_and_problem()
    with pytest.raises(CertificateError, match=message):
        verify(changed(certificate, **change(members(certificate))), problem.X, problem.y)


def test_a_cover_is_judged_as_by_trying_all():
    """Random sets of leaves: accepted only where every sign vector or its negative is in one."""
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(600):
        count = int(rng.integers(1, 9))
        leaves = rng.choice([-1, 0, 1], (count, 3), p=[0.3, 0.4, 0.3]).astype(np.int8)
        covered = all(
            any(bool(np.all((leaves == 0) | (leaves == s * u), axis=1).any()) for s in (1, -1))
            for u in sign_vectors(3).T
        )
        try:
            check_leaves(leaves, np.ones((count, 7), dtype=np.float32), 3)
        except CertificateError:
            continue
        accepted += 1
        assert covered
    assert accepted > 50


def test_an_unfinished_search_is_a_valid_certificate():
    problem = planted(20)
    trained = train(problem)
    tree = branch_and_bound(
        problem.lift.adjoint(trained.certificate.nu), 0.0, deadline=time.monotonic()
    )
    error = forming_error(problem.lift, trained.certificate.nu)
    certificate = exact.branching_certificate(problem, trained.certificate.nu, tree, error)
    assert 0.0 < certificate.lower_bound <= trained.objective
    assert verify(certificate, problem.X, problem.y) >= certificate.lower_bound


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("activation", ["bilinear", Polynomial(1.0, 0.0, 0.0)])
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_beyond_the_numbers_of_a_leaf_the_weaker_bound_stays(activation, scale, monkeypatch):
    monkeypatch.setattr(exact, "ENUMERATED", 0)
    monkeypatch.setattr(exact, "ENUMERATED_FORMS", 0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 5))
    y = np.sign(X[:, 0] * X[:, 1]) + 0.3 * rng.normal(size=40)
    problem = Problem(scale * X, y, 1.0, activation=activation)
    problem = problem.with_beta(0.1 * problem.beta_max)
    trained = train(problem, certify="exact")
    assert trained.certificate.kind == "relaxation"
    assert 0.0 < trained.gap < 0.1
    assert verify(trained.certificate, problem.X, problem.y) >= trained.lower_bound
