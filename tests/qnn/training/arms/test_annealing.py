import numpy as np
import pytest

from qnn.training.arms.annealing import anneal_rows


def start(m: int, d: int = 5, n: int = 30) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    U, V = rng.choice([-1.0, 1.0], (2, m, d))
    return rng.standard_normal((d, n)), U, V, np.zeros(m), rng.standard_normal(n)


@pytest.mark.parametrize("T", [0.0, 0.5])
def test_the_residual_stays_that_of_the_network(T: float) -> None:
    X, U, V, alpha, residual = start(4)
    y = residual.copy()
    anneal_rows(X, U, V, alpha, residual, 0.3, T, 500, np.random.default_rng(1))
    assert np.abs(alpha).max() > 0
    assert set(np.unique(U)) == set(np.unique(V)) == {-1.0, 1.0}
    np.testing.assert_allclose(residual, y - ((U @ X) * (V @ X)).T @ alpha, atol=1e-10)


def test_without_temperature_no_move_raises_the_objective() -> None:
    X, U, V, alpha, residual = start(3)
    before = 0.5 * residual @ residual
    for seed in range(200):
        anneal_rows(X, U, V, alpha, residual, 0.3, 0.0, 1, np.random.default_rng(seed))
        now = 0.5 * residual @ residual + 0.3 * np.abs(alpha).sum()
        assert now <= before + 1e-12
        before = now


def test_the_mean_rise_is_that_of_rising_proposals() -> None:
    X, U, V, alpha, residual = start(1)
    one = anneal_rows(X, U, V, alpha, residual, 1e9, 0.0, 50, np.random.default_rng(0))
    # At such a penalty alpha stays 0 and nothing rises or falls.
    assert one == 0.0
    assert not alpha.any()
