"""Certificates of kind "tightened": the checker accepts what holds, to its edge, and no more."""

from collections.abc import Callable

import numpy as np
import pytest

from qnn.certificates.checker import verify
from qnn.certificates.claim import Claim
from qnn.certificates.proofs.cuts import CutsProof
from qnn.certificates.record import Certificate
from qnn.errors import CertificateError
from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from tests.qnn.bruteforce import sign_vectors
from tests.qnn.certificates.members import changed, members

Array = np.ndarray

D, N, CUTS = 3, 9, 5
SIGMAS = [(0.0937, 0.5, 0.4688), (1.0, 0.0, 0.0), (-0.3, 0.5, 0.1)]
SPENT = "the diagonal spends more than beta \\* d"
UNPROVEN = "the dual slack is not proven positive|a diagonal entry of the dual slack is not proven"


def odd_vectors(rng: np.random.Generator, width: int) -> Array:
    """Integers of both signs with odd sums, larger ones than 1 among them."""
    vectors = rng.integers(-2, 3, (CUTS, width))
    vectors[:, 0] += 1 - vectors.sum(axis=1) % 2
    return vectors.astype(np.int8)


def weighted(cuts: Array, tau: Array) -> Array:
    return sum(t * np.outer(b, b) for t, b in zip(tau, cuts.astype(float), strict=True))


def polynomial(
    sigma: tuple[float, float, float], alphabet: str | int, seed: int
) -> tuple[Certificate, Problem]:
    """A certificate with as little on either diagonal as the least eigenvalues allow."""
    rng = np.random.default_rng(seed)
    activation = Polynomial(*sigma)
    X, y = rng.normal(size=(N, D)), rng.normal(size=N)
    problem = Problem(X, y, 1.0, "squared", activation, alphabet)
    nu, size = rng.normal(size=N), problem.lift.size
    M, cuts = problem.lift.adjoint(nu), odd_vectors(rng, size)
    tau = rng.uniform(0.1, 0.3, (2, CUTS))
    needed = [
        np.linalg.eigvalsh(sign * M + weighted(cuts, own))[-1]
        for sign, own in zip((1.0, -1.0), tau, strict=True)
    ]
    claim = Claim(
        -1e9, 1e3, D, problem.data_sha256, activation="polynomial",
        polynomial=np.array(sigma), alphabet=problem.alphabet.name,
    )  # fmt: skip
    diagonals = np.full(size, needed[0]), np.full(size, needed[1])
    return Certificate(claim, nu, CutsProof(diagonals, cuts, tau.ravel())), problem


def bilinear(seed: int) -> tuple[Certificate, Problem]:
    """The same; the least eigenvalue is that of a matrix of order 2d, on which (u; v) acts."""
    rng = np.random.default_rng(seed)
    problem = Problem(rng.normal(size=(N, D)), rng.normal(size=N), 1.0)
    nu, cuts, tau = rng.normal(size=N), odd_vectors(rng, 2 * D), rng.uniform(0.1, 0.3, CUTS)
    M, none = problem.lift.adjoint(nu), np.zeros((D, D))
    both = weighted(cuts, tau) + weighted(np.roll(cuts, D, axis=1), tau)
    needed = np.linalg.eigvalsh(both + np.block([[none, M], [M, none]]))[-1]
    claim = Claim(-1e9, 1e3, D, problem.data_sha256)
    return Certificate(claim, nu, CutsProof((np.full(D, needed),), cuts, tau)), problem


def diagonals_of(certificate: Certificate) -> dict[str, tuple[Array, Array]]:
    """By name: a diagonal and its multipliers."""
    own = members(certificate)
    if own.diag is not None:
        return {"diag": (own.diag, own.multipliers)}
    positive, negative = own.multipliers.reshape(2, -1)
    return {
        "diag_positive": (own.diag_positive, positive),
        "diag_negative": (own.diag_negative, negative),
    }


Made = Callable[[int], tuple[Certificate, Problem]]
KINDS = pytest.mark.parametrize(
    "make",
    [
        *(
            pytest.param(lambda seed, sigma=sigma: polynomial(sigma, "binary", seed), id=str(sigma))
            for sigma in SIGMAS
        ),
        pytest.param(lambda seed: polynomial(SIGMAS[0], 2, seed), id="2-bit"),
        pytest.param(bilinear, id="bilinear"),
    ],
)


@KINDS
@pytest.mark.parametrize("seed", range(6))
def test_a_diagonal_must_be_as_large_as_the_least_eigenvalue_says(make: Made, seed: int):
    certificate, problem = make(seed)
    edge = {name: a + 1e-7 for name, (a, _) in diagonals_of(certificate).items()}
    certificate = changed(certificate, **edge)
    assert verify(certificate, problem.X, problem.y) > -1e9
    for name, a in edge.items():
        with pytest.raises(CertificateError, match=UNPROVEN):
            verify(changed(certificate, **{name: a - 2e-7}), problem.X, problem.y)


@KINDS
@pytest.mark.parametrize("seed", range(6))
def test_of_each_sign_no_more_is_spent_than_the_budget(make: Made, seed: int):
    certificate, problem = make(seed)
    sides = diagonals_of(certificate)
    budget = 1.1 * max(a.sum() - tau.sum() for a, tau in sides.values())
    # A side's budget is that of its diagonal less that of its own multipliers.
    spending = {
        name: a + (budget * (1.0 - 1e-9) - a.sum() + tau.sum()) / len(a)
        for name, (a, tau) in sides.items()
    }
    certificate = changed(certificate, beta=budget / D, **spending)
    assert verify(certificate, problem.X, problem.y) > -1e9
    for name, a in spending.items():
        with pytest.raises(CertificateError, match=SPENT):
            verify(changed(certificate, **{name: a + 1e-8 * budget}), problem.X, problem.y)


@KINDS
@pytest.mark.parametrize("seed", range(20))
def test_what_is_accepted_holds_at_all_signs(make: Made, seed: int):
    certificate, problem = make(seed)
    sides = diagonals_of(certificate)
    least = max(a.sum() - tau.sum() for a, tau in sides.values()) * (1.0 + 1e-6)
    edge = {name: a * (1.0 + 1e-7) for name, (a, _) in sides.items()}
    certificate = changed(certificate, beta=least / D, **edge)
    verify(certificate, problem.X, problem.y)
    M = problem.lift.adjoint(certificate.nu)
    U = sign_vectors(len(M))
    one = certificate.polynomial is not None
    products = np.einsum("ij,ij->j", U, M @ U) if one else U.T @ M @ U
    assert np.abs(products).max() <= certificate.beta * D


@KINDS
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cuts, tau: (np.vstack([cuts[:-1], 2 * cuts[-1:]]), tau), "has an even sum or a la"),
        (lambda cuts, tau: (np.vstack([9 * cuts[:1], cuts[1:]]), tau), "has an even sum or a la"),
        (lambda cuts, tau: (cuts, tau - 2.0 * tau[-1] * (tau == tau[-1])), "multiplier is negat"),
        (lambda cuts, tau: (cuts, np.where(tau == tau[0], np.nan, tau)), "or not finite"),
        (lambda cuts, tau: (cuts, np.where(tau == tau[0], np.inf, tau)), "or not finite"),
        (lambda cuts, tau: (cuts[:-1], tau), "inequalities must be rows of"),
        (lambda cuts, tau: (None, tau), "the inequalities or their multipliers are missing"),
        (lambda cuts, tau: (cuts, None), "the inequalities or their multipliers are missing"),
    ],
)
def test_one_false_row_or_multiplier_is_enough(make: Made, change: Callable, message: str):
    certificate, problem = make(0)
    loose = {name: a + 1e6 for name, (a, _) in diagonals_of(certificate).items()}
    certificate = changed(certificate, beta=1e9, **loose)
    assert verify(certificate, problem.X, problem.y) > -1e9
    own = members(certificate)
    cuts, tau = change(own.cuts, own.multipliers)
    with pytest.raises(CertificateError, match=message):
        verify(changed(certificate, cuts=cuts, multipliers=tau), problem.X, problem.y)
