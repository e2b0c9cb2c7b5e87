"""The checker proves what is true and refuses the rest; it agrees with exact arithmetic."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.certificates.checker import data_digest, proven_bound, verify
from qnn.certificates.proofs.diagonal import DiagonalProof
from qnn.certificates.record import Certificate
from qnn.errors import CertificateError, InputError
from qnn.losses import LOSSES, MarginLoss
from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.repair import certify
from tests.qnn.bruteforce import exact_optimum, sign_vectors
from tests.qnn.certificates.members import changed, members, names

LOSS_NAMES = sorted(LOSSES)


def small_problem(seed: int, loss: str, n: int = 12, d: int = 4, **kwargs: object) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    margin = issubclass(LOSSES[loss], MarginLoss)
    y = rng.choice([-1.0, 1.0], n) if margin else rng.normal(size=n) * 3
    return Problem(X, y, beta=float(rng.uniform(0.05, 2.0)), loss=loss, **kwargs)


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("activation", ["bilinear", Polynomial(0.0937, 0.5, 0.4688)])
@pytest.mark.parametrize("alphabet", ["binary", "ternary", 2])
def test_any_dual_point_bounds_the_enumerated_optimum(loss, activation, alphabet):
    for seed in range(3):
        problem = small_problem(seed, loss, n=8, d=3, activation=activation, alphabet=alphabet)
        nu = np.random.default_rng(seed + 99).normal(size=problem.n)
        nu = np.where(nu * problem.y > 0, nu, -nu)
        certificate = certify(problem, nu)
        bound = verify(certificate, problem.X, problem.y)
        optimum = exact_optimum(problem)
        assert certificate.lower_bound <= bound
        assert bound <= optimum + 1e-7 * abs(optimum)


@given(
    seed=st.integers(0, 10**6),
    loss=st.sampled_from(LOSS_NAMES),
    scale=st.sampled_from([1e-8, 1e-3, 1.0, 1e4, 1e8]),
    columns=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_a_verified_point_is_feasible_for_every_neuron(seed, loss, scale, columns):
    """Independent of any optimum: |u'M(nu)v| <= beta d for all signs, in exact arithmetic."""
    rng = np.random.default_rng(seed)
    X = np.ascontiguousarray(rng.normal(size=(7, columns)) * scale)
    y = rng.choice([-1.0, 1.0], 7)
    problem = Problem(X, y, beta=float(rng.uniform(1e-3, 10.0)) * scale**2, loss=loss)
    certificate = certify(problem, y * rng.uniform(0, 1, 7))
    verify(certificate, X, y)
    signs = sign_vectors(columns).astype(int)
    rows = [[Fraction(float(x)) for x in row] for row in X]
    nu = [Fraction(float(value)) for value in certificate.nu]
    products = [[sum(s * x for s, x in zip(u, row, strict=True)) for u in signs.T] for row in rows]
    budget = Fraction(problem.beta) * columns
    for i in range(signs.shape[1]):
        for j in range(signs.shape[1]):
            value = sum(w * p[i] * p[j] for w, p in zip(nu, products, strict=True))
            assert abs(value) <= budget


def exactly_semidefinite(S: list[list[Fraction]]) -> bool:
    """LDL' in rational arithmetic; a zero pivot needs a zero row."""
    S = [row[:] for row in S]
    for k in range(len(S)):
        if S[k][k] < 0 or (S[k][k] == 0 and any(S[i][k] != 0 for i in range(k, len(S)))):
            return False
        if S[k][k] == 0:
            continue
        for i in range(k + 1, len(S)):
            factor = S[i][k] / S[k][k]
            for j in range(k, len(S)):
                S[i][j] -= factor * S[k][j]
    return True


@given(
    seed=st.integers(0, 10**6),
    tightness=st.floats(0.999999999, 1.000000001),
    template=st.sampled_from([None, (0.0937, 0.5, 0.4688), (1.0, 0.0, 0.0)]),
)
@settings(max_examples=60, deadline=None)
def test_what_it_accepts_is_semidefinite_in_rational_arithmetic(seed, tightness, template):
    """Points at the very edge of feasibility: accepting is allowed only where it is true."""
    rng = np.random.default_rng(seed)
    d, n = 3, 5
    X, y = rng.normal(size=(n, d)), rng.normal(size=n)
    activation = "bilinear" if template is None else Polynomial(*template)
    problem = Problem(X, y, beta=1.0, activation=activation)
    certificate = certify(problem, y)
    names = [name for name in certificate.arrays() if name.startswith("diag")]
    certificate = changed(
        certificate, nu=certificate.nu * tightness * rng.choice([1.0, 1.2]),
        lower_bound=-1e300, beta=2.0,
    )  # fmt: skip
    try:
        proven_bound(certificate, X, y)
    except CertificateError:
        return
    rows = [
        [Fraction(float(x)) for x in row] + ([] if template is None else [Fraction(1)]) for row in X
    ]
    size = len(rows[0])
    mask = [[Fraction(1)] * size for _ in range(size)]
    if template is not None:
        a, b, c = (Fraction(value) for value in template)
        mask = [
            [a if i < d and j < d else (c if i == j == d else b / 2) for j in range(size)]
            for i in range(size)
        ]
    M = [
        [
            mask[i][j]
            * sum(
                Fraction(float(w)) * row[i] * row[j]
                for w, row in zip(certificate.nu, rows, strict=True)
            )
            for j in range(size)
        ]
        for i in range(size)
    ]
    signs = {"diag": (1, -1), "diag_positive": (-1,), "diag_negative": (1,)}
    for name in names:
        diagonal = [Fraction(float(value)) for value in certificate.arrays()[name]]
        for sign in signs[name]:
            S = [
                [sign * M[i][j] + (diagonal[i] if i == j else 0) for j in range(size)]
                for i in range(size)
            ]
            assert exactly_semidefinite(S)


def tampered(certificate: Certificate, name: str) -> Certificate:
    value = getattr(members(certificate), name)
    if isinstance(value, np.ndarray) and value.ndim:
        larger = value.copy()
        larger[int(np.argmax(np.abs(larger)))] *= 1.5
        return changed(certificate, **{name: larger})
    other = {
        "lower_bound": np.nextafter(certificate.lower_bound, np.inf) + 1e-9,
        "beta": certificate.beta * 0.5,
        "d": certificate.d + 1,
        "data_sha256": "0" * 64,
        "loss": "absolute",
        "loss_parameter": 1.0,
        "activation": "polynomial",
        "alphabet": "septenary",
        "kind": "exact",
        "method": "enumeration",
        "format": 99,
    }
    return changed(certificate, **{name: other[name]})


@pytest.mark.parametrize(
    "name",
    [
        "nu",
        "diag",
        "lower_bound",
        "beta",
        "d",
        "data_sha256",
        "loss",
        "loss_parameter",
        "activation",
        "alphabet",
        "kind",
        "method",
        "format",
    ],
)
def test_tampering_with_any_field_is_refused(name):
    problem = small_problem(0, "squared", n=30, d=5)
    # Large targets and a small price: the dual point lies outside the absolute loss's domain.
    problem = Problem(problem.X, 100 * problem.y, beta=50.0)
    certificate = certify(problem, problem.y)
    assert verify(certificate, problem.X, problem.y) > 0
    with pytest.raises(CertificateError):
        verify(tampered(certificate, name), problem.X, problem.y)


@pytest.mark.parametrize("name", ["diag_positive", "diag_negative", "polynomial"])
def test_tampering_with_a_polynomial_certificate_is_refused(name):
    problem = small_problem(1, "squared", n=30, d=5, activation=Polynomial(1.0, 0.3, 0.2))
    certificate = certify(problem, problem.y)
    assert verify(certificate, problem.X, problem.y) > 0
    with pytest.raises(CertificateError):
        verify(tampered(certificate, name), problem.X, problem.y)


def test_fields_that_prove_nothing_are_named_here():
    """Every field is covered by the tests of this folder, or only tells where things are."""
    covered = {"nu", "diag", "lower_bound", "beta", "d", "data_sha256", "loss", "loss_parameter",
               "activation", "alphabet", "kind", "method", "format", "diag_positive",
               "diag_negative", "polynomial", "cuts", "multipliers", "leaves",
               "leaf_diagonals", "weights"}  # fmt: skip
    # Those of a proof over blocks are attacked one by one in test_blockwise.py.
    blocks = {"nu_scale", "nu_smoothing", "block_rows", "block_sha256", "block_values"}
    # Those of leaves of agreements are in test_agreements_kind.py.
    agreements = {"diagonals", "leaf_starts", "leaf_cuts", "leaf_multipliers"}
    assert names() - covered - blocks - agreements <= {"data", "output", "nu_matrix"}


@pytest.mark.parametrize("short", [np.float16, np.float32])
def test_numbers_of_fewer_digits_than_files_have_are_refused(short):
    """A square in single precision rounds by more than is allowed for."""
    problem = small_problem(1, "squared")
    certificate = certify(problem, np.asarray(0.5 * problem.y, dtype=short).astype(float))
    verify(certificate, problem.X, problem.y)
    proof = DiagonalProof(tuple(a.astype(short) for a in certificate.proof.diagonals))
    for made in (
        replace(certificate, nu=certificate.nu.astype(short)),
        replace(certificate, proof=proof),
    ):
        with pytest.raises(CertificateError, match="wrong type"):
            verify(made, problem.X, problem.y)


def test_other_data_are_refused():
    problem = small_problem(0, "squared", n=30, d=5)
    certificate = certify(problem, problem.y)
    X = problem.X.copy()
    X[3, 2] = np.nextafter(X[3, 2], np.inf)
    with pytest.raises(CertificateError, match="SHA-256"):
        verify(certificate, X, problem.y)
    with pytest.raises(CertificateError, match="30 rows of 5 columns, the data have 29 of 5"):
        verify(certificate, problem.X[1:], problem.y[1:])


def test_the_digest_is_that_of_the_rows_as_little_endian_doubles():
    problem = small_problem(2, "squared", n=30, d=5)
    assert data_digest(problem.X, problem.y) == problem.data_sha256


def test_zero_dual_point_proves_zero_and_a_scaled_up_one_does_not_pass():
    problem = small_problem(3, "hinge")
    certificate = certify(problem, np.zeros(problem.n))
    assert -1e-200 <= verify(certificate, problem.X, problem.y) <= 0.0
    outside = changed(certificate, nu=1.5 * problem.y, lower_bound=-1.0)
    with pytest.raises(CertificateError, match=r"not proven|domain"):
        verify(outside, problem.X, problem.y)


def test_certificates_come_back_from_their_files_as_they_were(tmp_path):
    for activation in ("bilinear", Polynomial(1.0, 0.3, 0.2)):
        problem = small_problem(4, "huber", activation=activation)
        certificate = certify(problem, problem.y)
        certificate.save(tmp_path / "c.npz")
        back = Certificate.load(tmp_path / "c.npz")
        assert back.arrays().keys() == certificate.arrays().keys()
        for name, array in certificate.arrays().items():
            np.testing.assert_array_equal(back.arrays()[name], array)
        assert verify(back, problem.X, problem.y) >= certificate.lower_bound
        with np.load(tmp_path / "c.npz", allow_pickle=False) as plain:
            np.testing.assert_array_equal(plain["nu"], certificate.nu)


def test_damaged_files_are_refused_or_harmless(tmp_path):
    problem = small_problem(5, "squared", n=6, d=2)
    certificate = certify(problem, problem.y)
    data = certificate.to_bytes()
    reference = certificate.arrays()
    path = tmp_path / "c.npz"
    for position in range(0, len(data), 7):
        for damaged in (
            data[:position],
            data[:position] + bytes([data[position] ^ 0x5A]) + data[position + 1 :],
        ):
            path.write_bytes(damaged)
            try:
                back = Certificate.load(path).arrays()
            except InputError:
                continue
            assert back.keys() == reference.keys()
            for name, array in reference.items():
                np.testing.assert_array_equal(back[name], array)
