"""Positive parts and least eigenvalues against LAPACK, and diagonals that must dominate."""

import numpy as np
import pytest

from qnn.semidefinite.cone import project_to_cone
from qnn.semidefinite.descent import lesser_diagonal
from qnn.semidefinite.positive import LARGE, lowest_eigenvalue, positive_factor

Array = np.ndarray


def symmetric(rng: np.random.Generator, n: int) -> Array:
    A = rng.standard_normal((n, n))
    return A + A.T


def positive_part(Y: Array) -> Array:
    values, vectors = np.linalg.eigh(Y.astype(np.float64))
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


def hard(rng: np.random.Generator, kind: str, n: int) -> Array:
    """Eigenvalues that are equal, zero, in blocks, or far apart; tiny and huge entries."""
    A = symmetric(rng, n)
    if kind == "whole numbers":
        return np.round(A)
    if kind == "diagonal":
        return np.diag(np.round(rng.standard_normal(n)))
    if kind == "low rank":
        U = rng.standard_normal((n, 2))
        return U @ U.T
    if kind == "twins":
        return np.kron(np.eye(2), A)
    if kind == "graded":
        scale = 10.0 ** -np.linspace(0.0, 8.0, n)
        return A * np.outer(scale, scale)
    return A * 10.0 ** rng.integers(-25, 25)


KINDS = ("whole numbers", "diagonal", "low rank", "twins", "graded", "scaled")


@pytest.mark.parametrize(("dtype", "near"), [("float32", 3e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_projection_is_that_of_all_eigenvectors(kind: str, dtype: str, near: float) -> None:
    rng = np.random.default_rng(KINDS.index(kind))
    for _ in range(40):
        Y = hard(rng, kind, int(rng.integers(1, 24))).astype(dtype)
        wanted, out = positive_part(Y), np.empty_like(Y)
        factor = project_to_cone(Y, out)
        size = np.sqrt(len(Y)) * float(np.abs(Y).max())
        np.testing.assert_allclose(out, wanted, atol=near * size)
        np.testing.assert_allclose(factor @ factor.T, wanted, atol=near * size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ordinary_matrices_need_no_other_way(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 8, 20, 33, 60):
        for _ in range(5):
            Y = symmetric(rng, n).astype(dtype)
            factor = positive_factor(Y)
            assert factor is not None
            assert factor.shape == (n, int((np.linalg.eigvalsh(Y) > 0.0).sum()))


def test_what_is_no_number_or_has_equal_eigenvalues_is_left_to_lapack() -> None:
    Y = symmetric(np.random.default_rng(1), 6)
    for bad in (np.nan, np.inf, 1e300):
        Y[2, 2] = bad
        assert positive_factor(Y) is None
    assert positive_factor(np.kron(np.eye(2), Y[3:, 3:])) is None


@pytest.mark.parametrize("n", [1, 2, 5, 24, LARGE])
def test_the_least_eigenvalue(n: int) -> None:
    rng = np.random.default_rng(n)
    for scale in (1.0, 1e-200, 1e150):
        S = scale * symmetric(rng, n)
        wanted = np.linalg.eigvalsh(S)[0]
        assert lowest_eigenvalue(S) == pytest.approx(wanted, abs=1e-13 * n * np.abs(S).max())
    assert lowest_eigenvalue(np.zeros((n, n))) == 0.0
    assert lowest_eigenvalue(np.diag(np.arange(1.0, n + 1.0))) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["multiple", "clustered", "graded", "rank one", "diagonal"])
def test_the_least_eigenvalue_where_steps_to_it_are_slow(kind: str) -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 25):
        Q = np.linalg.qr(rng.normal(size=(n, n)))[0]
        others = rng.uniform(-1.0, 1.0, n)
        S = {
            "multiple": Q * np.where(np.arange(n) <= n // 2, -1.0, others) @ Q.T,
            "clustered": Q * (-1.0 + 1e-9 * others) @ Q.T,
            "graded": Q * 10.0 ** (-10.0 + 10.0 * others) @ Q.T,
            "rank one": np.outer(Q[0], Q[0]),
            "diagonal": np.diag(others),
        }[kind]
        S = 0.5 * (S + S.T)
        assert lowest_eigenvalue(S) == pytest.approx(np.linalg.eigvalsh(S)[0], abs=1e-14 * n)


def test_the_least_eigenvalue_of_what_is_no_number() -> None:
    for bad in (np.nan, np.inf):
        S = np.eye(4)
        S[1, 1] = bad
        assert not lowest_eigenvalue(S) > -np.inf


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_descended_diagonal_dominates_and_spends_less(blocks: int) -> None:
    rng = np.random.default_rng(blocks)
    for n in (1, 2, 7, 30):
        M = symmetric(rng, n)
        sides = np.stack([M, -M][:blocks])
        a = 0.1 * np.abs(M).sum(axis=1)
        shifted = a + max(0.0, -min(lowest_eigenvalue(np.diag(a) - B) for B in sides))
        found = lesser_diagonal(sides, a, shifted)
        assert found.sum() <= shifted.sum()
        assert n < 7 or found.sum() < shifted.sum()
        for B in sides:
            assert np.linalg.eigvalsh(np.diag(found) - B)[0] >= -1e-12 * np.abs(B).max()
    np.testing.assert_array_equal(lesser_diagonal(sides, shifted, shifted), shifted)
