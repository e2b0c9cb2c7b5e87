import numpy as np
import pytest

from qnn.training.rounding.refit import lasso
from qnn.training.rounding.refit.lasso import solve_lasso
from qnn.training.rounding.refit.updated import PENDING, ActiveSet


def instance(n, m, seed, d=12):
    rng = np.random.default_rng(seed)
    spikes = rng.random((n, d)) < 0.3
    X = np.where(spikes, np.exp(1.5 * rng.standard_normal((n, d))), 0.0) - 0.3
    U, V = rng.choice([-1, 1], size=(2, d, m))
    H = (X @ U) * (X @ V)
    return H.T @ H, H.T @ rng.standard_normal(n)


def value(G, q, penalty, a):
    return 0.5 * a @ G @ a - q @ a + penalty * np.abs(a).sum()


@pytest.mark.parametrize("fraction", [0.3, 0.03, 0.001])
@pytest.mark.parametrize(("n", "m"), [(300, 150), (120, 150), (40, 200), (8, 120)])
def test_a_large_lasso_ends_where_factorizations_end(n, m, fraction, monkeypatch):
    G, q = instance(n, m, n)
    penalty = fraction * np.abs(q).max()
    found = solve_lasso(G, q, penalty)
    monkeypatch.setattr(lasso, "LARGE", m)
    anew = solve_lasso(G, q, penalty)
    assert anew.inverse is None
    assert found.violation < 1e-8
    reached, wanted = (
        value(G, q, penalty, found.coefficients),
        value(G, q, penalty, anew.coefficients),
    )
    assert reached == pytest.approx(wanted, rel=1e-10)


def test_the_inverse_is_that_of_the_support_and_serves_a_larger_problem():
    G, q = instance(400, 200, 1)
    penalty = 0.02 * np.abs(q).max()
    first = solve_lasso(G[:120, :120], q[:120], penalty)
    support = np.flatnonzero(first.coefficients)
    block = np.ix_(support, support)
    np.testing.assert_allclose(first.inverse[block] @ G[block], np.eye(len(support)), atol=1e-6)
    wide, start = np.zeros((200, 200), order="F"), np.zeros(200)
    wide[:120, :120], start[:120] = first.inverse, first.coefficients
    warm = solve_lasso(G, q, penalty, start, inverse=wide)
    cold = solve_lasso(G, q, penalty)
    np.testing.assert_allclose(warm.coefficients, cold.coefficients, atol=1e-9)
    assert warm.solves < cold.solves


def test_more_leave_than_are_kept_pending():
    G, q = instance(600, 300, 2, d=40)
    penalty = 0.01 * np.abs(q).max()
    dense = np.linalg.solve(G, q)
    active = ActiveSet(G, q, 30.0 * penalty, dense)
    active.settle(1e-11, 10_000)
    left = 300 - np.count_nonzero(active.signs)
    assert left > 2 * PENDING
    support = np.flatnonzero(active.signs)
    block = np.ix_(support, support)
    np.testing.assert_allclose(active.inverse[block] @ G[block], np.eye(len(support)), atol=1e-6)
    assert not active.inverse[active.signs == 0.0].any()
    inside = active.gradient - 30.0 * penalty * active.signs
    assert np.abs(inside[support]).max() < 1e-8 * penalty


def test_the_value_never_rises_from_a_start():
    G, q = instance(200, 150, 3)
    penalty = 0.05 * np.abs(q).max()
    start = np.random.default_rng(0).standard_normal(150)
    stopped = solve_lasso(G, q, penalty, start, max_solves=20)
    finished = solve_lasso(G, q, penalty, start)
    values = [value(G, q, penalty, a) for a in (start, stopped.coefficients, finished.coefficients)]
    assert values == sorted(values, reverse=True)
    assert stopped.violation > finished.violation
