import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from qnn.errors import InputError
from qnn.losses import LOSSES, MarginLoss, get_loss
from qnn.losses.absolute import Absolute
from qnn.training.problems.problem import Problem
from qnn.training.rounding.refit.lasso import solve_lasso
from qnn.training.rounding.refit.second_layer import refit
from tests.qnn.bruteforce import loss_expression

SQUARED = get_loss("squared")


def value(H, y, penalty, alpha):
    return 0.5 * np.sum((H @ alpha - y) ** 2) + penalty * np.abs(alpha).sum()


def instance(n, m, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6))
    U, V = rng.choice([-1, 1], size=(2, 6, m))
    return (X @ U) * (X @ V), rng.standard_normal(n)


@pytest.mark.parametrize(("n", "m"), [(30, 8), (30, 60), (5, 40)])
def test_the_refit_agrees_with_cvxpy(n, m):
    H, y = instance(n, m, 1)
    penalty = 0.1 * np.abs(H.T @ y).max()
    layer = refit(SQUARED, H, y, penalty)
    alpha = cp.Variable(m)
    problem = cp.Problem(
        cp.Minimize(0.5 * cp.sum_squares(H @ alpha - y) + penalty * cp.norm1(alpha))
    )
    problem.solve(solver="CLARABEL")
    assert layer.objective == pytest.approx(problem.value, rel=1e-7)
    assert layer.gap <= 1e-9
    assert layer.objective == pytest.approx(value(H, y, penalty, layer.alpha), rel=1e-12)
    assert np.allclose(layer.predictions, H @ layer.alpha)
    assert 0 < np.count_nonzero(layer.alpha) <= min(n, m)


def test_the_refit_agrees_with_scikit_learn():
    H, y = instance(50, 10, 2)
    penalty = 0.2 * np.abs(H.T @ y).max()
    # scikit-learn divides the loss by n.
    model = Lasso(alpha=penalty / 50, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(H, y)
    layer = refit(SQUARED, H, y, penalty)
    assert layer.alpha == pytest.approx(model.coef_, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 50),
    st.floats(-4, 0.5),
    st.sampled_from([1e-8, 1e-2, 1.0, 1e5]),
    st.integers(0, 2**32 - 1),
)
def test_optimal_from_any_start_on_degenerate_columns(n, m, exponent, scale, seed):
    rng = np.random.default_rng(seed)
    # Small integers: duplicate, opposite, dependent and zero columns.
    H = scale * rng.integers(-1, 2, size=(n, m)).astype(float)
    y = rng.standard_normal(n)
    penalty = 10.0**exponent * max(np.abs(H.T @ y).max(), scale)
    start = rng.standard_normal(m) * (rng.random(m) < 0.5) / scale
    layer = refit(SQUARED, H, y, penalty, start)
    assert layer.gap <= 1e-9
    assert layer.objective <= value(H, y, penalty, start) * (1 + 1e-12)


def test_a_large_penalty_prunes_everything():
    H, y = instance(20, 10, 3)
    layer = refit(SQUARED, H, y, 1.0001 * np.abs(H.T @ y).max(), np.ones(10))
    assert not layer.alpha.any()
    assert layer.objective == 0.5 * y @ y
    assert layer.gap == pytest.approx(0.0, abs=1e-12)


def test_no_columns_and_zero_columns():
    y = np.ones(3)
    assert refit(SQUARED, np.zeros((3, 0)), y, 1.0).objective == 1.5
    assert not refit(SQUARED, np.zeros((3, 2)), y, 1.0, np.ones(2)).alpha.any()


def test_the_lasso_says_when_it_was_stopped_early():
    H, y = instance(60, 40, 4)
    G, q = H.T @ H, H.T @ y
    penalty = 0.01 * np.abs(q).max()
    stopped = solve_lasso(G, q, penalty, max_solves=2)
    finished = solve_lasso(G, q, penalty)
    assert stopped.violation > 1e-3
    assert finished.violation < 1e-10
    assert finished.solves > stopped.solves


def test_a_warm_start_saves_solves():
    H, y = instance(80, 60, 5)
    G, q = H.T @ H, H.T @ y
    penalty = 0.05 * np.abs(q).max()
    cold = solve_lasso(G, q, penalty)
    warm = solve_lasso(G, q, 0.99 * penalty, cold.coefficients)
    assert warm.solves < 0.5 * cold.solves


def loss_and_targets(name, y):
    loss = get_loss(name, 0.3 if name == "huber" else None)
    return loss, np.where(y > 0, 1.0, -1.0) if issubclass(LOSSES[name], MarginLoss) else y


@pytest.mark.parametrize("fraction", [0.3, 0.01])
@pytest.mark.parametrize(("n", "m"), [(40, 12), (30, 60), (5, 40)])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_agrees_with_cvxpy_and_gives_its_dual(name, n, m, fraction):
    H, y = instance(n, m, 7)
    loss, y = loss_and_targets(name, y)
    penalty = fraction * np.abs(H.T @ loss.gradient(np.zeros(n), y)).max()
    layer = refit(loss, H, y, penalty)
    alpha = cp.Variable(m)
    statement = loss_expression(Problem(H, y, 1.0, loss=loss), H @ alpha)
    program = cp.Problem(cp.Minimize(statement + penalty * cp.norm1(alpha)))
    program.solve(solver="CLARABEL")
    assert layer.objective == pytest.approx(program.value, rel=1e-6)
    assert layer.gap <= 1e-9
    direct = loss.value(H @ layer.alpha, y) + penalty * np.abs(layer.alpha).sum()
    assert layer.objective == pytest.approx(direct, rel=1e-12)
    # nu is feasible and its value is the optimum: what column generation prices with.
    assert np.abs(H.T @ layer.nu).max() <= penalty * (1 + 1e-8)
    scale = min(1.0, penalty / np.abs(H.T @ layer.nu).max())
    assert loss.dual_value(scale * layer.nu, y) == pytest.approx(layer.objective, rel=1e-8)
    if loss.piecewise_linear:
        assert np.count_nonzero(layer.alpha) <= min(n, m)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(sorted(LOSSES)),
    st.integers(1, 12),
    st.integers(1, 40),
    st.floats(-4, 0.5),
    st.sampled_from([1e-6, 1e-2, 1.0, 1e4]),
    st.integers(0, 2**32 - 1),
)
def test_every_loss_from_any_start_on_degenerate_columns(name, n, m, exponent, scale, seed):
    rng = np.random.default_rng(seed)
    H = scale * rng.integers(-1, 2, size=(n, m)).astype(float)
    loss, y = loss_and_targets(name, rng.standard_normal(n))
    steepest = np.abs(H.T @ loss.gradient(np.zeros(n), y)).max()
    penalty = 10.0**exponent * max(steepest, scale)
    start = rng.standard_normal(m) * (rng.random(m) < 0.5) / scale
    layer = refit(loss, H, y, penalty, start)
    begun = loss.value(H @ start, y) + penalty * np.abs(start).sum()
    assert layer.objective <= begun * (1 + 1e-12)
    assert layer.gap <= 1e-7


def test_a_loss_without_refit_is_refused():
    class Bare(Absolute):
        name = "bare"
        piecewise_linear = False

    with pytest.raises(InputError) as caught:
        refit(Bare(), np.ones((2, 1)), np.ones(2), 1.0)
    assert str(caught.value) == (
        "loss 'bare' has no refit of the second layer: it must have a curvature and a second "
        "derivative, or a linear dual (see docs/adding_a_loss.md)"
    )
