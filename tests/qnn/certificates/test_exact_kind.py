"""Certificates of kind "exact": the checker enumerates for itself, and says so where it did not."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.certificates.checker import proven_bound, verify
from qnn.certificates.record import Certificate
from qnn.certificates.sign_norm import largest_sign_product
from qnn.errors import CertificateError, NotProvenAgainError
from qnn.losses import LOSSES
from qnn.pricing.enumeration import enumerate_signs, forming_error
from qnn.pricing.exact import exact_certificate
from qnn.problem import Problem
from tests.qnn.bruteforce import exact_optimum, sign_vectors


def problem_and_certificate(seed=0, n=20, d=5, loss="squared", beta=0.5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = rng.choice([-1.0, 1.0], n)
    problem = Problem(X, y, beta, loss)
    nu = y * rng.uniform(0.0, 1.0, n)
    found = enumerate_signs(problem.lift.adjoint(nu), forming_error(problem.X, nu))
    return problem, exact_certificate(problem, nu, found)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_any_dual_point_bounds_the_enumerated_optimum(loss):
    for seed in range(4):
        problem, certificate = problem_and_certificate(seed, n=8, d=3, loss=loss)
        bound = verify(certificate, problem.X, problem.y)
        assert 0.0 < certificate.lower_bound <= bound
        assert bound <= exact_optimum(problem) * (1 + 1e-7)


@pytest.mark.parametrize("d", [*range(1, 12), 14])
def test_the_checkers_enumeration_is_brute_force(d):
    rng = np.random.default_rng(d)
    M = rng.normal(size=(d, d))
    found, rounding = largest_sign_product(M)
    brute = np.abs(M @ sign_vectors(d)).sum(axis=0).max()
    assert found == pytest.approx(brute, rel=1e-13)
    assert 0.0 < rounding < 1e-12 * brute


@given(seed=st.integers(0, 10**6), nudge=st.floats(-3e-13, 3e-13))
@settings(max_examples=80, deadline=None)
def test_what_it_accepts_is_feasible_in_rational_arithmetic(seed, nudge):
    """At the very edge of the budget: accepting is allowed only where it is true."""
    rng = np.random.default_rng(seed)
    X, nu = rng.normal(size=(4, 3)), rng.normal(size=4)
    norm = enumerate_signs(X.T @ (nu[:, None] * X)).maximum
    beta = norm / 3.0 * (1.0 + nudge)
    certificate = Certificate(
        nu, -1e300, beta, 3, Problem(X, nu, beta).data_sha256, kind="exact", method="enumeration"
    )
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
        ({"d": 6}, "it is for 20 rows of 6 columns, the data have 20 of 5"),
    ],
)
def test_tampering_is_refused(change, message):
    problem, certificate = problem_and_certificate()
    norm = enumerate_signs(problem.lift.adjoint(certificate.nu)).maximum
    # On the budget's edge, so that any growth of nu leaves it.
    certificate = replace(
        certificate, nu=certificate.nu * (problem.budget / norm) * (1 - 1e-12), lower_bound=-1e9
    )
    assert verify(certificate, problem.X, problem.y) > -1e9
    if "nu" in change:
        change = {"nu": certificate.nu * (1.0 + 1e-9)}
    with pytest.raises(CertificateError) as error:
        verify(replace(certificate, **change), problem.X, problem.y)
    assert str(error.value).startswith(message)


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
            verify(replace(certificate, **change), problem.X, problem.y, fast=True)
        assert not isinstance(error.value, NotProvenAgainError)


def test_it_survives_a_file(tmp_path):
    problem, certificate = problem_and_certificate()
    certificate.save(tmp_path / "c.npz")
    loaded = Certificate.load(tmp_path / "c.npz")
    assert (loaded.kind, loaded.method, loaded.diag) == ("exact", "enumeration", None)
    assert verify(loaded, problem.X, problem.y) == verify(certificate, problem.X, problem.y)
