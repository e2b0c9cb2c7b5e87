"""The compiled parts of a learned step against plain numpy, for every order."""

import numpy as np
import pytest

from qnn.training.relaxation.learned import steps

Array = np.ndarray


def unpacked(m: Array, size: int) -> Array:
    """``smat(m)``."""
    M = np.zeros((size, size))
    i, j = np.triu_indices(size)
    M[i, j] = M[j, i] = m * np.where(i == j, 1.0, np.sqrt(0.5))
    return M


@pytest.mark.parametrize("size", range(1, 12))
def test_a_step_is_newtons(size: int) -> None:
    """The Hessian by differences of the gradient, the constraint by elimination."""
    rng = np.random.default_rng(size)
    p, barrier, budget = size * (size + 1) // 2, 0.3, 1.3 * size
    G = rng.normal(size=(2 * p, p))
    inverse, m0 = np.linalg.inv(G.T @ G), rng.normal(size=p)
    m, a = 0.1 * rng.normal(size=p), 1.0 + 0.1 * rng.uniform(size=size)

    def gradient(point: Array) -> Array:
        M, A = unpacked(point[:p], size), np.diag(point[p:])
        V, W = np.linalg.inv(A - M), np.linalg.inv(A + M)
        i, j = np.triu_indices(size)
        inner = (barrier * (V - W))[i, j] * np.where(i == j, 1.0, np.sqrt(2.0))
        return np.concatenate([inverse @ (point[:p] - m0) + inner, -barrier * np.diag(V + W)])

    point, h = np.concatenate([m, a]), 1e-6
    unit = h * np.eye(p + size)
    H = np.array([(gradient(point + e) - gradient(point - e)) / (2.0 * h) for e in unit])
    row = np.concatenate([np.zeros(p), np.ones(size)])
    system = np.block([[H, row[:, None]], [row[None], np.zeros((1, 1))]])
    wanted = np.linalg.solve(system, np.append(-gradient(point), budget - a.sum()))[:-1]

    V, W, pairs = np.empty((size, size)), np.empty((size, size)), np.empty(4 * size * p)
    width = (p + size + 5) // 4 * 4
    K, change = np.zeros((p + size) * width), np.empty((2, p + size))
    pull = inverse @ (m0 - m)
    given = (inverse, pull, budget, barrier, V, W, pairs, K, change)
    for _ in range(2):
        # The second time with what the first one left in the room to work in.
        one, two = m.copy(), a.copy()
        assert steps._newton(one, two, *given)
        step = np.concatenate([one - m, two - a])
        length = step @ wanted / (wanted @ wanted)
        assert 0.0 < length <= 1.0 + 1e-4
        np.testing.assert_allclose(step, length * wanted, atol=1e-4 * np.abs(wanted).max())
        for sign in (-1.0, 1.0):
            assert np.linalg.eigvalsh(np.diag(two) + sign * unpacked(one, size))[0] > 0.0


def test_products_and_least_slacks() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 24):
        F = rng.normal(size=(9, size))
        for f, phi in zip(F, steps.products(F), strict=True):
            np.testing.assert_allclose(unpacked(phi, size), np.outer(f, f), rtol=1e-14)
        m, a = rng.normal(size=(4, size * (size + 1) // 2)), rng.uniform(size=(4, size))
        for found, one, two in zip(steps.least_slacks(m, a), m, a, strict=True):
            M = unpacked(one, size)
            both = [np.linalg.eigvalsh(np.diag(two) + sign * M)[0] for sign in (-1.0, 1.0)]
            assert found == pytest.approx(min(both), abs=1e-13 * size)


def test_what_is_not_positive_definite_has_no_step() -> None:
    size = 3
    V, W, pairs, change = np.empty((3, 3)), np.empty((3, 3)), np.empty(72), np.empty((2, 9))
    for a, inverse in ((-np.ones(3), np.eye(6)), (np.ones(3), -np.eye(6)), (np.nan, np.eye(6))):
        m, diagonal = np.zeros(6), np.full(size, a)
        given = (inverse, np.ones(6), 1.0, 1e-3, V, W, pairs, np.zeros(9 * 12), change)
        assert not steps._newton(m, diagonal, *given)
        assert not m.any()
