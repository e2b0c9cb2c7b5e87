"""Compression is exact, the streamed solve agrees with the usual one, memory is flat in n."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from qnn.certificates.streaming import verify_stream
from qnn.errors import CertificateError, InputError
from qnn.numerics.batches import Batch
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.admm import loop as admm
from qnn.training.relaxation.streaming.compression import compress, smat, svec
from qnn.training.relaxation.streaming.solve import solve_stream
from tests.qnn.bruteforce import exact_optimum


def rows(n: int, d: int, seed: int = 0, scale: float = 1.0) -> Batch:
    rng = np.random.default_rng(seed)
    X = np.hstack([rng.normal(size=(n, d - 1)), np.ones((n, 1))]) * scale
    U, V = rng.choice([-1.0, 1.0], (2, d, 2))
    y = ((X @ U) * (X @ V)).sum(axis=1) / scale**2 + rng.normal(size=n)
    return X, y


def cut(X: np.ndarray, y: np.ndarray, *places: int) -> list[Batch]:
    return list(zip(np.split(X, places), np.split(y, places), strict=True))


def test_svec_is_an_isometry():
    A, B = np.random.default_rng(0).normal(size=(2, 5, 5))
    A, B = A + A.T, B + B.T
    assert svec(A) @ svec(B) == pytest.approx(np.vdot(A, B))
    np.testing.assert_allclose(smat(svec(A), 5), A)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 8, 9, 13])
def test_the_gram_matrix_is_that_of_the_lifted_rows(d):
    X, y = np.random.default_rng(d).normal(size=(1500, d)), np.ones(1500)
    lifted = np.array([svec(np.outer(x, x)) for x in X])
    data = compress(cut(X, y, 7, 1200))
    np.testing.assert_allclose(data.gram, lifted.T @ lifted, rtol=1e-11, atol=1e-10)
    np.testing.assert_allclose(data.cross, lifted.sum(axis=0), rtol=1e-11, atol=1e-10)
    np.testing.assert_array_equal(data.gram, data.gram.T)


def test_the_compression_is_the_loss_whatever_the_cuts():
    X, y = rows(500, 6)
    problem = Problem(X, y, 1.0)
    Z = np.random.default_rng(1).normal(size=(6, 6))
    Z = Z + Z.T
    predictions = np.array([x @ Z @ x for x in X])
    for batches in (cut(X, y), cut(X, y, 1, 7, 300), lambda: iter(cut(X, y, 250))):
        data = compress(batches)
        assert data.loss(svec(Z)) == pytest.approx(0.5 * np.sum((predictions - y) ** 2), rel=1e-12)
        assert data.dual_value(svec(Z)) == pytest.approx(
            (y - predictions) @ y - 0.5 * np.sum((y - predictions) ** 2), rel=1e-12
        )
        np.testing.assert_allclose(
            data.adjoint(svec(Z)), X.T @ ((y - predictions)[:, None] * X), rtol=1e-9, atol=1e-9
        )
        assert data.beta_max == pytest.approx(problem.beta_max, rel=1e-9)
        assert data.data_sha256 == problem.data_sha256


@pytest.mark.parametrize(
    ("n", "d", "scale"), [(400, 7, 1.0), (400, 7, 1e4), (400, 7, 1e-6), (12, 7, 1.0), (1, 3, 1.0)]
)
@pytest.mark.parametrize("fraction", [1.5, 0.3, 0.03])
def test_agreement_with_the_uncompressed_solve(n, d, scale, fraction):
    X, y = rows(n, d, scale=scale)
    problem = Problem(X, y, 1.0)
    problem = problem.with_beta(fraction * problem.beta_max)
    streamed = solve_stream(cut(X, y, n // 3), problem.beta, tol=1e-5)
    usual = admm.solve(problem, tol=1e-6)
    assert streamed.outcome == "solved"
    assert streamed.gap <= 1e-5
    assert streamed.upper_bound == pytest.approx(usual.upper_bound, rel=1.2e-5)
    assert streamed.lower_bound <= usual.upper_bound
    assert verify_stream(streamed.certificate, cut(X, y)) >= streamed.lower_bound


def test_the_full_dual_point_proves_the_same_to_the_usual_checker():
    """nu written out, row by row, is feasible for the uncompressed problem with the same diag."""
    X, y = rows(200, 5)
    relaxed = solve_stream(cut(X, y), 0.2 * Problem(X, y, 1.0).beta_max)
    Z, (a,) = relaxed.certificate.proof.nu_matrix, relaxed.certificate.proof.diagonals
    nu = y - np.array([x @ Z @ x for x in X])
    M = X.T @ (nu[:, None] * X)
    assert min(np.linalg.eigvalsh(np.diag(a) + s * M)[0] for s in (-1, 1)) > -1e-9 * a.max()
    assert relaxed.lower_bound == pytest.approx(nu @ y - 0.5 * nu @ nu, rel=1e-9)


def test_the_bound_is_below_the_enumerated_optimum():
    X, y = rows(40, 4)
    problem = Problem(X, y, 1.0)
    for fraction in (0.5, 0.1, 0.01):
        problem = problem.with_beta(fraction * problem.beta_max)
        relaxed = solve_stream(cut(X, y), problem.beta)
        assert relaxed.lower_bound <= exact_optimum(problem) * (1 + 1e-7)


def test_one_compression_serves_several_betas():
    X, y = rows(300, 6)
    data = compress(cut(X, y))
    first = solve_stream(cut(X, y), 0.3 * data.beta_max, compression=data)
    alone = solve_stream(cut(X, y), 0.3 * data.beta_max)
    assert first.upper_bound == alone.upper_bound
    assert first.statistics["compress_seconds"] < 1e-3


def test_limits_and_honest_gaps():
    X, y = rows(300, 6)
    short = solve_stream(cut(X, y), 0.01 * compress(cut(X, y)).beta_max, 1e-9, max_iterations=3)
    assert short.outcome == "iteration_limit"
    assert short.gap > 1e-9
    assert verify_stream(short.certificate, cut(X, y)) >= short.lower_bound


def once() -> Iterator[Batch]:
    yield rows(5, 3)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (once(), "batches can be read only once"),
        ([], "the batches hold no rows"),
        ([rows(5, 3), rows(5, 4)], "batch 1 has 4 columns, the first has 3"),
        ([(np.ones((2, 2)), np.ones(3))], r"batch 0: X must be \(m, d\) and y \(m,\)"),
        ([(np.full((2, 2), np.nan), np.ones(2))], "batch 0 has NaN or infinity"),
        ([(np.full((2, 2), "a"), np.ones(2))], "batch 0 must be numbers"),
        ([(np.ones((2, 200)), np.ones(2))], "200 columns are too many to compress"),
    ],
)
def test_bad_batches(batches, message):
    with pytest.raises(InputError, match=message):
        solve_stream(batches, 1.0)


@pytest.mark.parametrize("beta", [0.0, -1.0, np.nan])
def test_bad_beta(beta):
    with pytest.raises(InputError, match="beta must be a positive number"):
        solve_stream([rows(5, 3)], beta)


def test_a_beta_lost_in_rounding_is_refused():
    X, y = rows(50, 4)
    with pytest.raises(CertificateError, match="no bound can be proven: beta \\* d"):
        solve_stream([(X, y)], 1e-18)


_PEAK = """
import sys, resource, numpy as np
from qnn.training.relaxation.streaming.solve import solve_stream
def batches():
    rng = np.random.default_rng(0)
    for _ in range(int(sys.argv[1])):
        X = rng.normal(size=(4096, 8))
        yield X, X[:, 0] * X[:, 1] + rng.normal(size=4096)
solve_stream(batches, 100.0, tol=1e-3, max_iterations=50)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_depend_on_the_number_of_rows():
    """48 batches hold 14 MB of rows; one that kept them would show it."""
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", _PEAK, count], capture_output=True, text=True, check=True
            ).stdout
        )
        for count in ("4", "48")
    ]
    assert peaks[1] - peaks[0] < 6 * 1024
