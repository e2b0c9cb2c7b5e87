"""Branch and bound of the polynomial activation; its leaves against every lie one could tell."""

import time

import numpy as np
import pytest

from qnn.certificates import Certificate
from qnn.certificates.checker import verify
from qnn.certificates.proofs.branching import check_form_leaves
from qnn.errors import CertificateError
from qnn.networks.activations import Polynomial
from qnn.training.fit import train
from qnn.training.pricing import exact
from qnn.training.pricing.branch_and_bound import branch_and_bound_forms
from qnn.training.pricing.enumeration import enumerate_forms, forming_error
from qnn.training.problems.problem import Problem
from tests.qnn.bruteforce import sign_vectors
from tests.qnn.certificates.members import changed, members

RELU = Polynomial(0.0937, 0.5, 0.4688)
SIGMAS = [RELU, Polynomial(1.0, 0.0, 0.0), Polynomial(-0.3, 0.5, 0.1)]


def matrix(seed: int, d: int, even: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((d, d)) * rng.choice([0.0, 1.0, 10.0], (d, d))
    A = A + A.T
    if even:
        A[-1, :-1] = A[:-1, -1] = 0.0
    return A


def values(M: np.ndarray) -> np.ndarray:
    U = sign_vectors(len(M))
    return np.einsum("ij,ij->j", U, M @ U)


@pytest.mark.parametrize("even", [False, True])
def test_the_leaves_of_each_sign_cover_every_vector_and_bound_it(even):
    M = matrix(4, 9, even)
    tree = branch_and_bound_forms(M, float(np.abs(values(M)).max()) * 1.0001, even)
    for u in sign_vectors(9).T:
        if u[-1] < 0:
            continue
        for side in (1.0, -1.0):
            fits = tree.signs[:, -1] == side
            near = [
                fits
                & np.all((tree.signs[:, :-1] == 0) | (tree.signs[:, :-1] == s * u[:-1]), axis=1)
                for s in ((1, -1) if even else (1,))
            ]
            leaves = np.flatnonzero(np.any(near, axis=0))
            assert len(leaves) == 1
            assert side * (u @ M @ u) <= tree.bounds[leaves[0]] * (1 + 1e-9)


def test_larger_than_an_enumeration_by_hand_and_cut_short():
    M = matrix(1, 24)
    largest = enumerate_forms(M).maximum
    tree = branch_and_bound_forms(M, largest * (1 + 5e-6))
    assert tree.complete
    assert largest * (1 - 1e-12) <= tree.upper_bound <= largest * (1 + 5e-6)
    for cut in (
        branch_and_bound_forms(M, largest, deadline=time.monotonic()),
        branch_and_bound_forms(M, largest * (1 + 1e-9), most_open=2),
    ):
        assert not cut.complete
        assert cut.upper_bound >= largest


def planted(d: int, sigma: Polynomial, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(8 * d, d))
    signal = sigma.value(X @ rng.choice([-1.0, 1.0], (d, 4))) @ rng.normal(size=4)
    y = signal + 0.3 * signal.std() * rng.normal(size=8 * d)
    problem = Problem(X, y, 1.0, activation=sigma)
    return problem.with_beta(0.1 * problem.beta_max)


@pytest.mark.parametrize("sigma", SIGMAS, ids=str)
@pytest.mark.parametrize("d", [5, 9])
def test_it_proves_the_optimum_that_the_enumeration_proves(d, sigma, monkeypatch):
    problem = planted(d, sigma, d)
    enumerated = train(problem, certify="exact")
    monkeypatch.setattr(exact, "ENUMERATED_FORMS", 0)
    branched = train(problem, certify="exact")
    assert branched.certificate.method == "branch_and_bound"
    assert enumerated.certificate.method == "enumeration"
    assert enumerated.gap <= 1e-7
    assert branched.gap <= 1e-5
    assert branched.objective == pytest.approx(enumerated.objective, rel=1e-6)
    assert branched.lower_bound <= enumerated.objective
    assert verify(branched.certificate, problem.X, problem.y) >= branched.lower_bound


@pytest.fixture(scope="module")
def branched() -> tuple[Certificate, Problem]:
    problem = planted(8, RELU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "ENUMERATED_FORMS", 0)
        return train(problem, certify="exact").certificate, problem


def test_it_survives_a_file(branched, tmp_path):
    certificate, problem = branched
    certificate.save(tmp_path / "c.npz")
    loaded = Certificate.load(tmp_path / "c.npz")
    assert np.array_equal(members(loaded).leaves, members(certificate).leaves)
    assert verify(loaded, problem.X, problem.y) >= certificate.lower_bound


def half(c: Certificate, side: int) -> dict[str, np.ndarray]:
    kept = c.leaves[:, -1] == side
    return {"leaves": c.leaves[kept], "leaf_diagonals": c.leaf_diagonals[kept]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: half(c, 1), "do not cover"),
        (lambda c: half(c, -1), "do not cover"),
        (lambda c: {"leaves": c.leaves[::2], "leaf_diagonals": c.leaf_diagonals[::2]},
         "do not cover"),
        (lambda c: {"leaves": np.delete(c.leaves, 0, 0),
                    "leaf_diagonals": np.delete(c.leaf_diagonals, 0, 0)}, "do not cover"),
        (lambda c: {"leaves": np.where(np.arange(9) == 8, 0, c.leaves).astype(np.int8)},
         "whether it is one of M or of -M"),
        (lambda c: {"leaf_diagonals": 0.99 * c.leaf_diagonals}, "not proven"),
        (lambda c: {"leaf_diagonals": np.float32(1.01) * c.leaf_diagonals}, "exceed the budget"),
        (lambda c: {"leaf_diagonals": -c.leaf_diagonals}, "negative or not finite"),
        (lambda c: {"leaf_diagonals": c.leaf_diagonals[:, :-1]}, "numbers each"),
        (lambda c: {"leaf_diagonals": None}, "missing"),
        (lambda c: {"polynomial": c.polynomial * [1.0, -1.0, 1.0]}, "not proven|exceed the budget"),
        (lambda c: {"nu": 1.001 * c.nu}, "not proven|exceed the budget"),
        (lambda c: {"beta": c.beta * (1.0 - 1e-4)}, "exceed the budget"),
        (lambda c: {"method": "enumeration"}, "do not belong"),
        (lambda c: {"lower_bound": c.lower_bound * 1.001}, "only .* is proven"),
    ],
)  # fmt: skip
def test_every_lie_is_found(branched, change, message):
    certificate, problem = branched
    with pytest.raises(CertificateError, match=message):
        verify(changed(certificate, **change(members(certificate))), problem.X, problem.y)


def test_a_cover_is_judged_as_by_trying_all():
    """Random sets of leaves: the sign of u is free only where the activation is even."""
    rng = np.random.default_rng(0)
    accepted = {False: 0, True: 0}
    for trial in range(3000):
        count = int(rng.integers(2, 14))
        leaves = rng.choice([-1, 0, 1], (count, 3), p=[0.3, 0.4, 0.3]).astype(np.int8)
        leaves[:, -1] = rng.choice([-1, 1], count)
        even = bool(trial % 2)
        covered = all(
            any(
                bool(np.all((part == 0) | (part == s * u), axis=1).any())
                for s in ((1, -1) if even else (1,))
            )
            for part in (leaves[leaves[:, -1] == side, :-1] for side in (1, -1))
            for u in sign_vectors(2).T
        )
        try:
            check_form_leaves(leaves, np.ones((count, 3), dtype=np.float32), 3, even)
        except CertificateError:
            continue
        accepted[even] += 1
        assert covered
    assert min(accepted.values()) > 100


def test_an_unfinished_search_is_a_valid_certificate():
    problem = planted(20, RELU)
    trained = train(problem)
    nu = trained.certificate.nu
    tree = branch_and_bound_forms(problem.lift.adjoint(nu), 0.0, deadline=time.monotonic())
    error = forming_error(problem.lift, nu)
    certificate = exact.branching_certificate(problem, nu, tree, error)
    assert 0.0 < certificate.lower_bound <= trained.objective
    assert verify(certificate, problem.X, problem.y) >= certificate.lower_bound
