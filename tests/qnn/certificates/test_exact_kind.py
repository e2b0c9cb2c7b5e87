"""Certificates of kind "exact": the checker enumerates for itself, and says so where it did not."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.certificates.checker import proven_bound, verify
from qnn.certificates.claim import Claim
from qnn.certificates.proofs.enumeration import EnumerationProof
from qnn.certificates.proofs.enumeration.sign_form import largest_sign_form
from qnn.certificates.proofs.enumeration.sign_norm import largest_sign_product
from qnn.certificates.record import Certificate
from qnn.errors import CertificateError, NotProvenAgainError
from qnn.losses import LOSSES
from qnn.networks.activations import Polynomial
from qnn.training.pricing.enumeration import enumerate_forms, enumerate_signs, forming_error
from qnn.training.pricing.exact import exact_certificate
from qnn.training.problems.problem import Problem
from tests.qnn.bruteforce import exact_optimum, sign_vectors
from tests.qnn.certificates.members import changed


def problem_and_certificate(seed=0, n=20, d=5, loss="squared", beta=0.5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = rng.choice([-1.0, 1.0], n)
    problem = Problem(X, y, beta, loss)
    nu = y * rng.uniform(0.0, 1.0, n)
    found = enumerate_signs(problem.lift.adjoint(nu), forming_error(problem.lift, nu))
    return problem, exact_certificate(problem, nu, found)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_any_dual_point_bounds_the_enumerated_optimum(loss):
    for seed in range(4):
        problem, certificate = problem_and_certificate(seed, n=8, d=3, loss=loss)
        bound = verify(certificate, problem.X, problem.y)
        assert 0.0 < certificate.lower_bound <= bound
        assert bound <= exact_optimum(problem) * (1 + 1e-7)


def largest_product(M):
    """`max u'Mv` over all pairs of sign vectors."""
    return np.abs(M @ sign_vectors(len(M))).sum(axis=0).max()


def largest_form(M):
    """`max |u'Mu|` over all sign vectors with a last entry of +1."""
    U = sign_vectors(len(M))
    U = U[:, U[-1] > 0]
    return np.abs(np.einsum("ij,ij->j", U, M @ U)).max()


ENUMERATIONS = [
    pytest.param(largest_sign_product, largest_product, {}, id="products"),
    pytest.param(largest_sign_product, largest_product, {"_TAIL": 2}, id="products-2"),
    pytest.param(largest_sign_product, largest_product, {"_TAIL": 0}, id="products-0"),
    pytest.param(largest_sign_form, largest_form, {}, id="forms"),
    pytest.param(largest_sign_form, largest_form, {"_TAIL": 2, "_INNER": 3}, id="forms-2-3"),
    pytest.param(largest_sign_form, largest_form, {"_TAIL": 3, "_INNER": 0}, id="forms-3-0"),
    pytest.param(largest_sign_form, largest_form, {"_TAIL": 0, "_INNER": 0}, id="forms-0-0"),
]


@pytest.mark.parametrize("d", [*range(1, 12), 16])
@pytest.mark.parametrize(("enumerate_all", "brute", "split"), ENUMERATIONS)
def test_the_checkers_enumeration_is_brute_force(monkeypatch, enumerate_all, brute, split, d):
    """However many entries of u are in its tables; nothing beside the last diagonal entry; both
    signs; values that differ by less than the integers can tell.
    """
    for name, value in split.items():
        monkeypatch.setattr(f"{enumerate_all.__module__}.{name}", value)
    for seed in range(8):
        M = np.random.default_rng(10 * d + seed).normal(size=(d, d))
        M = M + M.T
        if seed % 2:
            M[-1, :-1] = M[:-1, -1] = 0.0
        if seed >= 4:
            M = np.round(M) + 1e-6 * M
        M = np.negative(M) if seed % 4 > 1 else M
        found, rounding = enumerate_all(M)
        assert found == pytest.approx(brute(M), rel=1e-12, abs=rounding)
        assert 0.0 < rounding < 1e-12 * np.abs(M).sum()


BOTH = pytest.mark.parametrize("enumerate_all", [largest_sign_product, largest_sign_form])


@BOTH
@pytest.mark.parametrize("entry", [0.0, 5e-324, 1e-300, 1e300])
def test_matrices_of_any_size_are_enumerated(enumerate_all, entry):
    M = np.full((4, 4), entry)
    found, rounding = enumerate_all(M)
    assert found == pytest.approx(16 * entry, rel=1e-15, abs=0.0)
    assert 0.0 < rounding < 1e-13 * found + 1e-300
    found, _ = enumerate_all(M + np.diag([2e-150, 0.0, 0.0, 1e-150]))
    assert found == pytest.approx(16 * entry + 3e-150, rel=1e-13)


@BOTH
def test_what_overflows_or_would_not_end_is_refused(enumerate_all):
    with pytest.raises(CertificateError, match="the sums of M overflow"):
        enumerate_all(np.full((9, 9), 1e308))
    with pytest.raises(CertificateError, match="50 columns are too many to enumerate"):
        enumerate_all(np.ones((50, 50)))


@given(seed=st.integers(0, 10**6), nudge=st.floats(-3e-13, 3e-13))
@settings(max_examples=80, deadline=None)
def test_what_it_accepts_is_feasible_in_rational_arithmetic(seed, nudge):
    """At the very edge of the budget: accepting is allowed only where it is true."""
    rng = np.random.default_rng(seed)
    X, nu = rng.normal(size=(4, 3)), rng.normal(size=4)
    norm = enumerate_signs(X.T @ (nu[:, None] * X)).maximum
    beta = norm / 3.0 * (1.0 + nudge)
    claim = Claim(-1e300, beta, 3, Problem(X, nu, beta).data_sha256)
    certificate = Certificate(claim, nu, EnumerationProof())
    try:
        proven_bound(certificate, X, nu)
    except CertificateError:
        assert nudge < 2e-13  # the allowances are no larger than that here
        return
    rows = [[Fraction(x) for x in row] for row in X.tolist()]
    weights = [Fraction(w) for w in nu.tolist()]
    for u in product((-1, 1), repeat=3):
        left = [
            w * sum(s * x for s, x in zip(u, row, strict=True))
            for w, row in zip(weights, rows, strict=True)
        ]
        columns = zip(*rows, strict=True)
        norm = sum(abs(sum(a * b for a, b in zip(left, c, strict=True))) for c in columns)
        assert norm <= Fraction(beta) * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nu": None}, "some signs u, v exceed the budget: |u'M(nu)v| > beta * d"),
        ({"beta": 0.49}, "some signs u, v exceed the budget: |u'M(nu)v| > beta * d"),
        ({"lower_bound": 1e9}, "it states the bound 1000000000.0, but only"),
        ({"data_sha256": "0" * 64}, "the data are not those of the certificate"),
        ({"method": None}, "unknown method of proof None"),
        ({"method": "oracle"}, "unknown method of proof 'oracle'"),
        ({"kind": "relaxation"}, "unknown method of proof 'enumeration'"),
        ({"kind": "relaxation", "method": None}, "diag does not belong to this activation, or is"),
        ({"diag": np.ones(5)}, "diag does not belong to this activation, or is missing"),
        ({"activation": "polynomial"}, "unknown activation 'polynomial'"),
        ({"leaves": np.ones((1, 5), dtype=np.int8)}, "leaves do not belong to the method"),
        ({"d": 6}, "it is for 20 rows of 6 columns, the data have 20 of 5"),
    ],
)
def test_tampering_is_refused(change, message):
    problem, certificate = problem_and_certificate()
    norm = enumerate_signs(problem.lift.adjoint(certificate.nu)).maximum
    # On the budget's edge, so that any growth of nu leaves it.
    certificate = changed(
        certificate, nu=certificate.nu * (problem.budget / norm) * (1 - 1e-12), lower_bound=-1e9
    )
    assert verify(certificate, problem.X, problem.y) > -1e9
    if "nu" in change:
        change = {"nu": certificate.nu * (1.0 + 1e-9)}
    with pytest.raises(CertificateError) as error:
        verify(changed(certificate, **change), problem.X, problem.y)
    assert str(error.value).removeprefix("changed: ").startswith(message)


def test_fast_never_returns_an_unproven_number():
    problem, certificate = problem_and_certificate()
    with pytest.raises(NotProvenAgainError) as error:
        verify(certificate, problem.X, problem.y, fast=True)
    assert error.value.stated == certificate.lower_bound
    assert str(error.value) == (
        f"states the bound {certificate.lower_bound!r}; its enumeration was not proven again"
    )
    for change in ({"lower_bound": 1e9}, {"data_sha256": "0" * 64}, {"method": "oracle"}):
        with pytest.raises(CertificateError) as error:
            verify(changed(certificate, **change), problem.X, problem.y, fast=True)
        assert not isinstance(error.value, NotProvenAgainError)


def test_it_survives_a_file(tmp_path):
    problem, certificate = problem_and_certificate()
    certificate.save(tmp_path / "c.npz")
    loaded = Certificate.load(tmp_path / "c.npz")
    assert (loaded.kind, loaded.method) == ("exact", "enumeration")
    assert isinstance(loaded.proof, EnumerationProof)
    assert verify(loaded, problem.X, problem.y) == verify(certificate, problem.X, problem.y)


SIGMAS = [(0.0937, 0.5, 0.4688), (1.0, 0.0, 0.0), (-0.3, 0.5, 0.1), (0.0, -1.0, 0.0)]


def polynomial_certificate(sigma, seed=0, n=20, d=5, loss="squared", beta=0.5, alphabet="binary"):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], n)
    problem = Problem(X, y, beta, loss, Polynomial(*sigma), alphabet)
    nu = y * rng.uniform(0.0, 1.0, n)
    found = enumerate_forms(problem.lift.adjoint(nu), forming_error(problem.lift, nu))
    return problem, exact_certificate(problem, nu, found)


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("sigma", SIGMAS)
def test_any_dual_point_bounds_the_enumerated_optimum_of_polynomials(loss, sigma):
    for seed, alphabet in enumerate(("binary", 2)):
        problem, certificate = polynomial_certificate(
            sigma, seed, n=8, d=3, loss=loss, alphabet=alphabet
        )
        assert "diag_positive" not in certificate.arrays()
        bound = verify(certificate, problem.X, problem.y)
        assert 0.0 < certificate.lower_bound <= bound
        assert bound <= exact_optimum(problem) * (1 + 1e-7)


@given(seed=st.integers(0, 10**6), nudge=st.floats(-3e-13, 3e-13), sigma=st.sampled_from(SIGMAS))
@settings(max_examples=120, deadline=None)
def test_what_it_accepts_of_polynomials_is_feasible_in_rational_arithmetic(seed, nudge, sigma):
    rng = np.random.default_rng(seed)
    X, nu = rng.normal(size=(4, 3)), rng.normal(size=4)
    lift = Polynomial(*sigma).lift(X, (1.0,))
    beta = enumerate_forms(lift.adjoint(nu)).maximum / 3.0 * (1.0 + nudge)
    certificate = changed(
        polynomial_certificate(sigma, n=4, d=3)[1], nu=nu, beta=beta, lower_bound=-1e300
    )
    try:
        proven_bound(certificate, X, nu)
    except CertificateError:
        return
    a, b, c = (Fraction(value) for value in sigma)
    for u in product((-1, 1), repeat=3):
        total = Fraction(0)
        for w, row in zip(nu.tolist(), X.tolist(), strict=True):
            t = sum(s * Fraction(x) for s, x in zip(u, row, strict=True))
            total += Fraction(w) * ((a * t + b) * t + c)
        assert abs(total) <= Fraction(beta) * 3


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_growth_beyond_the_budget_is_refused_on_both_sides(sigma, sign):
    problem, certificate = polynomial_certificate(sigma)
    nu = sign * certificate.nu
    largest = enumerate_forms(problem.lift.adjoint(nu)).maximum
    edge = changed(certificate, nu=nu * problem.budget / largest * (1 - 1e-11), lower_bound=-1e9)
    assert verify(edge, problem.X, problem.y) > -1e9
    with pytest.raises(CertificateError, match="some signs u exceed the budget"):
        verify(changed(edge, nu=edge.nu * (1 + 1e-9)), problem.X, problem.y)
    with pytest.raises(CertificateError, match="some signs u exceed the budget"):
        verify(changed(edge, beta=edge.beta * (1 - 1e-9)), problem.X, problem.y)
    grown = changed(edge, polynomial=edge.polynomial * (1 + 1e-9))
    with pytest.raises(CertificateError, match="some signs u exceed the budget"):
        verify(grown, problem.X, problem.y)


def test_of_a_polynomial_fast_says_so_and_no_diagonal_belongs():
    problem, certificate = polynomial_certificate(SIGMAS[0])
    with pytest.raises(NotProvenAgainError):
        verify(certificate, problem.X, problem.y, fast=True)
    with pytest.raises(CertificateError, match="diag_positive does not belong"):
        verify(changed(certificate, diag_positive=np.ones(6)), problem.X, problem.y)
