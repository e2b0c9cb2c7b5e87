"""Bounds of maxima over signs against cvxpy, and their parts against dense algebra."""

import itertools

import cvxpy as cp
import numpy as np

from qnn.semidefinite.squares import Vectors, bound_maximum


def form(n: int, seed: int) -> np.ndarray:
    A = np.random.default_rng(seed).standard_normal((n, n))
    return A + A.T


def triangles(n: int) -> np.ndarray:
    rows = []
    for i, j, k in itertools.combinations(range(n), 3):
        for a, b in itertools.product((1, -1), repeat=2):
            row = np.zeros(n)
            row[i], row[j], row[k] = 1, a, b
            rows.append(row)
    return np.array(rows)


def sparse(rows: np.ndarray) -> Vectors:
    at = np.array([np.flatnonzero(row) for row in rows])
    return Vectors.of_rows(at, np.take_along_axis(rows, at, axis=1))


def reference(C: np.ndarray, cuts: np.ndarray) -> float:
    X = cp.Variable(C.shape, PSD=True)
    statements = [cp.diag(X) == 1] + [row @ X @ row >= 1 for row in cuts]
    problem = cp.Problem(cp.Maximize(cp.trace(C @ X)), statements)
    return float(problem.solve(solver="CLARABEL"))


def test_plain_and_with_all_triangles_as_cvxpy_has_it() -> None:
    for seed in range(3):
        C, n = form(7, seed), 7
        plain = bound_maximum(C, Vectors.units(n), n)
        truth = reference(C, np.zeros((0, n)))
        assert truth - 1e-6 <= plain.bound <= truth * (1 + 2e-3)
        rows = triangles(n)

        def all_violated(
            X: np.ndarray, least: float, most: int, rows: np.ndarray = rows
        ) -> Vectors:
            squares = np.einsum("ci,ij,cj->c", rows, X, rows)
            bad = squares < 1.0 - least
            return sparse(rows[bad]) if bad.any() else Vectors.none()

        tight = bound_maximum(C, Vectors.units(n), n, separate=all_violated)
        truth = reference(C, rows)
        assert truth - 1e-6 <= tight.bound <= truth * (1 + 5e-3)


def test_every_bound_is_above_every_sign_vector() -> None:
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=8)))
    for seed in range(10):
        C = form(8, seed)
        largest = np.einsum("xi,ij,xj->x", signs, C, signs).max()
        result = bound_maximum(C, Vectors.units(8), 8.0, target=largest)
        assert result.bound >= largest - 1e-9
        y = result.multipliers.equal
        slack = np.diag(y) - C
        rest = result.bound - y.sum() + 8.0 * np.linalg.eigvalsh(slack)[0]
        assert rest >= -1e-9


def test_rows_and_their_squares_are_those_of_dense_matrices() -> None:
    rng = np.random.default_rng(0)
    rows = np.where(rng.random((6, 5)) < 0.6, rng.integers(-2, 3, (6, 5)), 0).astype(float)
    at = [np.flatnonzero(row) for row in rows]
    vectors = Vectors(
        np.concatenate([[0], np.cumsum([len(a) for a in at])]),
        np.concatenate(at).astype(np.int32),
        np.concatenate([row[a] for row, a in zip(rows, at, strict=True)]),
    )
    assert np.array_equal(vectors.dense(5), rows)
    X = form(5, 1)
    assert np.allclose(vectors.squares(X), np.einsum("ci,ij,cj->c", rows, X, rows))
    weights, K = rng.standard_normal(6), X.copy()
    vectors.add_squares(weights, K)
    assert np.allclose(K, X + (rows * weights[:, None]).T @ rows)
    chosen = vectors.chosen(np.array([4, 1]))
    assert np.array_equal(chosen.dense(5), rows[[4, 1]])
    assert np.array_equal(chosen.joined(vectors).dense(5), np.vstack([rows[[4, 1]], rows]))
