"""Certificates of weighted problems: proven again, never above the truth, no field changeable."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.certificates import Certificate, read_certificate
from qnn.certificates.checker import data_digest, verify
from qnn.certificates.proofs.diagonal import DiagonalProof
from qnn.certificates.proofs.streamed import StreamedProof
from qnn.certificates.streaming import verify_stream
from qnn.errors import CertificateError, InputError
from qnn.losses import LOSSES, MarginLoss
from qnn.networks.activations import Polynomial
from qnn.numerics.archive import unpack_arrays
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.repair import certify
from tests.qnn.bruteforce import exact_optimum
from tests.qnn.certificates.members import changed

NAMES = [name for name in sorted(LOSSES) if LOSSES[name].takes_weights]
RELU = Polynomial(0.0937, 0.5, 0.4688)


def weighted_problem(seed: int, loss: str = "squared", n: int = 12, d: int = 4, **kwargs: object):
    rng = np.random.default_rng(seed)
    X, weights = rng.normal(size=(n, d)), 10.0 ** rng.uniform(-1.5, 1.5, n)
    margin = issubclass(LOSSES[loss], MarginLoss)
    y = rng.choice([-1.0, 1.0], n) if margin else rng.normal(size=n) * 3
    beta = float(rng.uniform(0.05, 2.0))
    return Problem(X, y, beta, loss, sample_weight=weights, **kwargs)


@pytest.mark.parametrize("loss", NAMES)
@pytest.mark.parametrize("activation", ["bilinear", RELU])
def test_any_dual_point_bounds_the_enumerated_weighted_optimum(loss, activation):
    for seed in range(3):
        problem = weighted_problem(seed, loss, n=8, d=3, activation=activation)
        nu = np.random.default_rng(seed + 99).normal(size=problem.n) * problem.weights
        certificate = certify(problem, np.where(nu * problem.y > 0, nu, -nu))
        bound = verify(certificate, problem.X, problem.y)
        optimum = exact_optimum(problem)
        assert bound <= optimum + 1e-7 * abs(optimum)


def test_the_file_has_the_weights_and_the_digest_binds_them():
    problem = weighted_problem(0, n=30, d=5)
    certificate = certify(problem, problem.weights * problem.y)
    arrays = unpack_arrays(certificate.to_bytes(), "here", "certificate")
    np.testing.assert_array_equal(arrays["weights"], problem.weights)
    back = read_certificate(arrays, "here")
    assert verify(back, problem.X, problem.y) >= certificate.lower_bound > 0.0
    digest = data_digest(problem.X, problem.y, problem.weights)
    assert certificate.data_sha256 == problem.data_sha256 == digest
    assert digest != data_digest(problem.X, problem.y)


def test_without_weights_files_are_what_they_were():
    problem = weighted_problem(0, n=30, d=5)
    plain = Problem(problem.X, problem.y, problem.beta)
    arrays = certify(plain, plain.y).arrays()
    assert "weights" not in arrays
    assert list(arrays)[-3:] == ["output", "data", "format"]


EDITS = {
    "none": None,
    "half": lambda w: 0.5 * w,
    "double": lambda w: 2.0 * w,
    "one of them": lambda w: np.where(np.arange(len(w)) == 3, 1.5, 1.0) * w,
    "an ulp": lambda w: np.nextafter(w, np.inf),
    "in another order": lambda w: w[::-1].copy(),
    "ones": np.ones_like,
    "zeros": np.zeros_like,
    "one zero": lambda w: np.where(np.arange(len(w)) == 0, 0.0, w),
    "negative": lambda w: -w,
    "nan": lambda w: np.where(np.arange(len(w)) == 0, np.nan, w),
    "inf": lambda w: np.where(np.arange(len(w)) == 0, np.inf, w),
    "denormal": lambda w: np.full_like(w, 5e-324),
    "1e-300": lambda w: 1e-300 * w,
    "1e300": lambda w: 1e300 * w,
    "too few": lambda w: w[:-1],
    "too many": lambda w: np.append(w, 1.0),
    "none of them": lambda w: w[:0],
    "a scalar": lambda w: np.float64(w[0]),
    "a matrix": lambda w: w[:, None],
    "single precision": lambda w: w.astype(np.float32),
    "integers": lambda w: np.ceil(w).astype(np.int64),
    "text": lambda w: np.array(["1.0"] * len(w)),
    "complex": lambda w: w.astype(np.complex128),
}


@pytest.mark.parametrize("edit", sorted(EDITS))
@pytest.mark.parametrize("loss", ["squared", "logistic", "absolute"])
def test_every_edit_of_the_weights_is_refused(edit, loss):
    """Also with the digest written over to fit, unless what is then claimed is the truth."""
    problem = weighted_problem(1, loss, n=10, d=3)
    X, y = problem.X, problem.y
    certificate = certify(problem, problem.weights * np.where(problem.y > 0, 0.4, -0.4))
    change = EDITS[edit]
    weights = None if change is None else change(problem.weights)
    with pytest.raises((CertificateError, InputError)):
        verify(changed(certificate, weights=weights), X, y)
    if edit == "complex":
        return
    try:
        digest = data_digest(X, y, weights)
        forged = changed(certificate, weights=weights, data_sha256=digest)
        bound = verify(forged, X, y)
    except (CertificateError, InputError, ValueError, TypeError, IndexError):
        return
    other = Problem(X, y, problem.beta, loss, sample_weight=weights)
    optimum = exact_optimum(other)
    assert bound <= optimum + 1e-7 * abs(optimum)


@given(
    seed=st.integers(0, 10**6),
    loss=st.sampled_from(NAMES),
    size=st.sampled_from([1e-100, 1e-60, 1e-8, 1.0, 1e8, 1e60, 1e100]),
    spread=st.sampled_from([1.0, 1e-6]),
)
@settings(max_examples=60, deadline=None)
def test_weights_of_any_size_prove_no_more_than_zero_costs(seed, loss, size, spread):
    """The zero network's objective is sum w l(0, y), in rational arithmetic for these losses."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(6, 2)), rng.choice([-1.0, 1.0], 6)
    weights = np.clip(size * spread ** rng.random(6), 1e-100, 1e100)
    problem = Problem(X, y, float(rng.uniform(0.1, 5.0)) * size, loss, sample_weight=weights)
    certificate = certify(problem, y * weights * rng.uniform(0, 1, 6))
    bound = verify(certificate, X, y)
    of_zero = {"squared": Fraction(1, 2), "squared_hinge": Fraction(1, 2), "huber": Fraction(1, 2)}
    each = Fraction(np.log(2.0)) + Fraction(1, 10**15) if loss == "logistic" else of_zero.get(
        loss, Fraction(1)
    )  # fmt: skip
    assert Fraction(bound) <= each * sum(map(Fraction, weights.tolist()))


def test_a_compressed_dual_point_takes_no_weights():
    problem = weighted_problem(2, n=6, d=2)
    plain = Problem(problem.X, problem.y, problem.beta)
    whole = certify(plain, plain.y)
    assert isinstance(whole.proof, DiagonalProof)
    proof = StreamedProof(np.zeros((2, 2)), whole.proof.diagonals)
    claim = whole.stating(weights=problem.weights, lower_bound=-1e300).claim
    with pytest.raises(CertificateError, match="no sample weights"):
        verify_stream(Certificate(claim, np.zeros(0), proof), lambda: iter([(plain.X, plain.y)]))
