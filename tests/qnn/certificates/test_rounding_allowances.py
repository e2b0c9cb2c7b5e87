"""Every allowance for rounding is there, in full: against theorems in rational arithmetic.

A point at the edge of what is true passes a checker that forgets one of them in one case of a
thousand, so each is looked at itself: it must not be below what its theorem says.
"""

import decimal
import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qnn.certificates import checker, streaming
from qnn.certificates.checker import proven_bound
from qnn.certificates.claim import Claim
from qnn.certificates.proofs import branching, cuts, diagonal, enumeration
from qnn.certificates.proofs.enumeration.sign_form import largest_sign_form
from qnn.certificates.proofs.enumeration.sign_norm import largest_sign_product
from qnn.certificates.record import Certificate
from qnn.certificates.slack import prove_budget, prove_semidefinite
from qnn.errors import CertificateError
from qnn.losses import LOSSES, MarginLoss, get_loss
from qnn.networks.activations import Polynomial
from qnn.training.fit import train
from qnn.training.pricing import exact
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.streaming.solve import solve_stream

Array = np.ndarray

U = Fraction(1, 2**53)
TEMPLATES = [None, (0.0937, 0.5, 0.4688), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (-1.0, 0.0, 0.0)]


def rational(values: Array) -> list[Fraction]:
    return [Fraction(value) for value in np.asarray(values, dtype=float).ravel().tolist()]


def absolute_sums(
    X: Array, nu: Array, weights: list[float], template: tuple[float, float, float] | None
) -> list[Fraction]:
    """Row sums of `|T| o |F|' diag|nu| |F|`, exactly but for the features."""
    F = np.hstack([weight * X for weight in weights])
    F = F if template is None else np.column_stack([F, np.ones(len(X))])
    rows = [[abs(value) for value in rational(row)] for row in F]
    last, sizes = F.shape[1] - 1, []
    a, b, c = (1, 1, 1) if template is None else map(abs, rational(np.array(template)))
    for i in range(last + 1):
        total = Fraction(0)
        for weight, row in zip(rational(nu), rows, strict=True):
            for j in range(last + 1):
                entry = 1 if template is None else c if i == j == last else b / 2
                entry = a if template is not None and max(i, j) < last else entry
                total += entry * abs(weight) * row[i] * row[j]
        sizes.append(total)
    return sizes


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("weights", [[1.0], [1 / 3, 2 / 3]])
def test_the_error_of_forming_the_matrix(template, weights):
    rng = np.random.default_rng(0)
    X, nu = rng.normal(size=(30, 3)), rng.normal(size=30)
    _, radius = checker._adjoint(X, nu, weights, template)
    sizes = absolute_sums(X, nu, weights, template)
    for found, size in zip(rational(radius), sizes, strict=True):
        # Sums of n products of three factors, the features' own weights, the template.
        assert found >= (len(X) + 7) * U * size
        assert found <= (20 * len(X) + 200) * U * size + Fraction(1, 10**300)


def factorized(monkeypatch: pytest.MonkeyPatch, a: Array, M: Array, *rest: object) -> Array:
    seen = []
    cholesky = np.linalg.cholesky
    monkeypatch.setattr(np.linalg, "cholesky", lambda S: seen.append(S) or cholesky(S))
    prove_semidefinite(a, M, *rest)
    monkeypatch.undo()
    (S,) = seen
    return S


@pytest.mark.parametrize("margin", [1.0, 4.0])
def test_what_is_factorized_lies_below_the_slack_by_what_a_factorization_errs(monkeypatch, margin):
    rng = np.random.default_rng(1)
    for size in (1, 2, 7, 40):
        M = rng.normal(size=(size, size))
        M, a, radius = M + M.T, 20.0 + 9.0 * size * rng.uniform(size=size), rng.uniform(size=size)
        S = factorized(monkeypatch, a, M, radius, margin)
        np.testing.assert_array_equal(S - np.diag(S.diagonal()), M - np.diag(M.diagonal()))
        gamma = (size + 1) * U / (1 - (size + 1) * U)
        for s, own, entry, error in zip(
            rational(S.diagonal()), rational(a), rational(M.diagonal()), rational(radius),
            strict=True,
        ):  # fmt: skip
            exact_slack = own + entry - error
            assert s <= exact_slack - Fraction(margin) * size * gamma / (1 - gamma) * s


def test_cancellation_in_the_diagonal_is_allowed_for():
    """1 + 0.6 e rounds to 1 + e: less 1 − e that is 2 e, and the slack is only 1.6 e."""
    e = 2.0**-52
    M = e * np.array([[0.6, 1.8], [1.8, 0.6]])
    with pytest.raises(CertificateError, match="not proven"):
        prove_semidefinite(np.ones(2), M, np.full(2, 1.0 - e), 1.0)


@pytest.mark.parametrize(
    ("a", "radius", "holds"),
    [
        ([0.0, 1.0], [0.0, 0.0], True),
        ([-1e-9, 1.0], [0.0, 0.0], False),
        ([0.0, 1.0], [1e-9, 0.0], False),
        ([1.0, 1.0], [0.999, 0.0], True),
        ([1.0, 1.0], [1.001, 0.0], False),
    ],
)
def test_a_row_of_zeros_needs_its_diagonal_and_its_error(a, radius, holds):
    M = np.zeros((2, 2))
    if holds:
        prove_semidefinite(np.array(a), M, np.array(radius), 1.0)
    else:
        with pytest.raises(CertificateError, match="not proven"):
            prove_semidefinite(np.array(a), M, np.array(radius), 1.0)


def test_the_budget_is_exact_to_the_last_bit():
    for beta, d in itertools.product((0.1, 1.0, 3.7), (1, 3, 7)):
        budget = Fraction(beta) * d
        a = float(budget)
        a = a if Fraction(a) <= budget else np.nextafter(a, 0.0)
        prove_budget(np.array([a]), beta, d)
        with pytest.raises(CertificateError, match="spends more"):
            prove_budget(np.array([np.nextafter(a, np.inf)]), beta, d)


def exact_dual_value(loss: str, nu: Array, y: Array) -> Fraction:
    terms = [n * t for n, t in zip(rational(nu), rational(y), strict=True)]
    if loss == "logistic":
        with decimal.localcontext(prec=60):
            total = decimal.Decimal(0)
            for w in (decimal.Decimal(float(w)) for w in terms):
                total -= w * w.ln() + (1 - w) * (1 - w).ln()
            return Fraction(total)
    curved = loss in ("squared", "squared_hinge", "huber")
    return sum(terms) - (sum(n * n for n in rational(nu)) / 2 if curved else 0)


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("size", [1, 100])
def test_the_dual_value_is_rounded_down_and_hardly(loss, size):
    for seed in range(100):
        rng = np.random.default_rng(seed)
        y = rng.choice([-1.0, 1.0], size)
        if not issubclass(LOSSES[loss], MarginLoss):
            y = rng.normal(size=size)
        nu = get_loss(loss).clip_dual(y * rng.uniform(0.1, 0.9, size) / np.abs(y), y)
        parameter = get_loss(loss).parameter
        claim = Claim(0.0, 1.0, 1, "", loss=loss, loss_parameter=parameter)
        certificate = Certificate(claim, nu, enumeration.EnumerationProof())
        exactly = exact_dual_value(loss, nu, y)
        found = Fraction(checker.dual_value(certificate, y, 1.0))
        assert exactly - 100 * size * U <= found <= exactly


@pytest.mark.parametrize("kept", [slice(0, 8), slice(0, 4), slice(4, 8)])
def test_the_errors_of_sums_over_inequalities(kept):
    rng = np.random.default_rng(2)
    d, count = 4, 30
    vectors = np.zeros((count, 2 * d), dtype=np.int8)
    vectors[:, kept] = rng.integers(-2, 3, vectors[:, kept].shape)
    tau = rng.uniform(size=count)

    def bound(sizes: Array) -> list[Fraction]:
        each = [rational(row) for row in sizes]
        return [
            (count + 2) * U
            * sum(t * row[i] * sum(row) for t, row in zip(rational(tau), each, strict=True))
            for i in range(len(each[0]))
        ]  # fmt: skip

    p, q = np.hsplit(np.abs(vectors).astype(float), 2)
    _, _, pairs = cuts.cut_sums(vectors, tau, d)
    assert all(f >= b for f, b in zip(rational(pairs), bound(p + q), strict=True))
    _, forms = cuts.form_cut_sums(vectors, tau)
    assert all(f >= b for f, b in zip(rational(forms), bound(np.abs(vectors)), strict=True))
    assert np.all(pairs <= 1e-12 * count * 4 * d)
    assert np.all(forms <= 1e-12 * count * 8 * d)


@pytest.mark.parametrize("sigma", [None, (0.0937, 0.5, 0.4688)])
@pytest.mark.parametrize("margin", [1.0, 4.0])
def test_a_tightened_proof_allows_for_all_three_errors(monkeypatch, sigma, margin):
    rng = np.random.default_rng(3)
    size = 3 if sigma is None else 4
    M, radius = rng.normal(size=(size, size)), rng.uniform(size=size)
    M = M + M.T
    vectors = rng.choice([-1, 1], (5, 2 * size if sigma is None else size)).astype(np.int8)
    tau = rng.uniform(size=5 if sigma is None else 10)
    claim, diagonals = Claim(0.0, 1e9, 3, ""), (np.ones(size),)
    if sigma is not None:
        claim = replace(claim, activation="polynomial", polynomial=np.array(sigma))
        diagonals = (np.ones(size), 2.0 * np.ones(size))
    proof = cuts.CutsProof(diagonals, vectors, tau)
    seen = []
    monkeypatch.setattr(cuts, "prove_semidefinite", lambda *given: seen.append(given))
    proof.prove(M, radius, claim, margin)
    if sigma is None:
        K_P, K_N, error = cuts.cut_sums(vectors, tau, size)
        sides = [(K_P, error), (K_N, error)]
    else:
        sides = [cuts.form_cut_sums(vectors, half) for half in np.split(tau, 2)]
    for (_, S, allowed, given_margin), (K, _), sign in zip(seen, sides, (-1, 1), strict=True):
        np.testing.assert_array_equal(S, sign * M - K)
        assert given_margin == margin
        # The radius is of order one, the others are 1e-15 of it.
        rest = allowed - margin * radius
        assert np.all(rest >= 0.0)
    M, radius = 1e-30 * M, 1e-300 * radius
    seen.clear()
    proof.prove(M, radius, claim, margin)
    for (_, S, allowed, _), (_, error) in zip(seen, sides, strict=True):
        assert np.all(allowed >= margin * (error + 2.0**-53 * np.abs(S).sum(axis=1)))


@pytest.mark.parametrize("pairs", [True, False])
def test_an_exact_proof_adds_both_errors_to_what_it_finds(monkeypatch, pairs):
    M, rounding = np.ones((2, 2)), 0.25
    monkeypatch.setattr(enumeration, "_enumerated", lambda *_: (4.0, rounding))
    monkeypatch.setattr(branching, "largest_of_leaves", lambda *_: (4.0, rounding))
    monkeypatch.setattr(branching, "largest_of_form_leaves", lambda *_: (4.0, rounding))
    claim = Claim(0.0, 1.0, 2, "")
    if not pairs:
        claim = replace(claim, activation="polynomial", polynomial=np.ones(3))
    none = np.zeros((0, 2), dtype=np.int8), np.zeros((0, 5), dtype=np.float32)
    for proof, radius, margin in itertools.product(
        (enumeration.EnumerationProof(), branching.BranchingProof(*none)),
        (np.array([0.5, 0.25]), np.zeros(2)),
        (1.0, 4.0),
    ):
        total = 4.0 + margin * (radius.sum() + rounding)
        proof.prove(M, radius, replace(claim, beta=total / 2 + 1e-9), margin)
        with pytest.raises(CertificateError, match="exceed the budget"):
            proof.prove(M, radius, replace(claim, beta=total / 2 - 1e-9), margin)


@pytest.mark.parametrize("d", [1, 2, 9, 12])
def test_the_errors_of_enumerations(d):
    M = np.random.default_rng(d).normal(size=(d, d))
    size = sum(map(abs, rational(M + M.T)))
    # Sums of d and then of d terms; each entry of M in at most four.
    assert Fraction(largest_sign_product(M + M.T)[1]) >= 2 * d * U * size
    assert Fraction(largest_sign_form(M + M.T)[1]) >= 4 * d * U * size


def test_the_errors_of_leaves():
    margins = []

    def prove(*given):
        margins.append(given[-1])
        prove_semidefinite(*given)

    rng = np.random.default_rng(4)
    for d in (3, 9):
        M = rng.normal(size=(d, d))
        M = M + M.T
        size = sum(map(abs, rational(M)))
        numbers = np.full((1, 2 * d + 1), 10.0 * d, dtype=np.float32)
        leaf = np.zeros((1, d), dtype=np.int8)
        _, rounding = branching.largest_of_leaves(M, leaf, numbers, prove, 4.0)
        assert Fraction(rounding) >= 2 * d * U * size
        sides = np.zeros((2, d), dtype=np.int8)
        sides[:, -1] = 1, -1
        _, rounding = branching.largest_of_form_leaves(
            M, sides, numbers[:, [0] * d].repeat(2, axis=0), prove, 4.0
        )
        assert Fraction(rounding) >= 4 * d * U * size
        assert rounding <= 1e-12 * d * d * (10.0 * d + float(size))
    assert margins == [4.0] * 6


def margins_of(monkeypatch: pytest.MonkeyPatch, prove: object) -> list[tuple]:
    """(margin, radius) of each proof of semidefiniteness within `prove`."""
    seen: list[tuple] = []
    monkeypatch.setattr(diagonal, "prove_semidefinite", lambda a, M, r, m: seen.append((m, r)))
    prove()
    monkeypatch.undo()
    return seen


def test_a_margin_multiplies_the_radius_too(monkeypatch):
    X, y = np.random.default_rng(5).normal(size=(2, 20, 4))
    y = y[:, 0]
    problem = Problem(X, y, 1.0)
    proofs = {checker: train(problem).certificate}
    proofs[streaming] = solve_stream([(X, y)], 1.0).certificate
    for module, certificate in proofs.items():
        found = {}
        for margin in (1.0, 4.0):

            def prove(module=module, certificate=certificate, margin=margin):
                if module is checker:
                    proven_bound(certificate, X, y, margin)
                else:
                    streaming.proven_stream_bound(certificate, [(X, y)], margin)

            found[margin] = margins_of(monkeypatch, prove)
            assert len(found[margin]) == 2
        for (one, radius), (four, larger) in zip(found[1.0], found[4.0], strict=True):
            assert (one, four) == (1.0, 4.0)
            assert np.all(radius > 0.0)
            np.testing.assert_allclose(larger, 4.0 * radius)


def test_the_streamed_dual_value_is_rounded_down():
    for seed in range(40):
        X, y = np.random.default_rng(seed).normal(size=(2, 20, 3))
        y = y[:, 0]
        certificate = solve_stream([(X, y)], 0.5).certificate
        nu = y - np.einsum("ij,ij->i", X @ certificate.proof.nu_matrix, X)
        found, _ = streaming.proven_stream_bound(certificate, [(X, y)])
        exactly = exact_dual_value("squared", nu, y)
        assert exactly - 10_000 * U <= Fraction(found) <= exactly


@pytest.mark.parametrize("activation", ["bilinear", Polynomial(0.0937, 0.5, 0.4688)])
@pytest.mark.parametrize("kind", ["relaxation", "tightened", "exact", "leaves"])
def test_certificates_are_made_with_room_for_twice_every_allowance(monkeypatch, activation, kind):
    """So that another machine's rounding does not refuse them."""
    if kind == "leaves":
        monkeypatch.setattr(exact, "ENUMERATED", 1)
        monkeypatch.setattr(exact, "ENUMERATED_FORMS", 1)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(25, 4)), rng.normal(size=25)
        problem = Problem(X, y, 1.0, activation=activation)
        problem = problem.with_beta(0.2 * problem.beta_max)
        level = "exact" if kind == "leaves" else kind
        certificate = train(problem, certify=level, seed=seed).certificate
        assert certificate.lower_bound <= proven_bound(certificate, X, y, margin=2.0)
        assert proven_bound(certificate, X, y, margin=4.0) > 0.0
