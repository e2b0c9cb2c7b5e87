"""The parts of the solvers, each against dense linear algebra or its defining property."""

import copy

import numpy as np
import pytest

from qnn.losses import LOSSES
from qnn.networks.activations.lift import Lift
from qnn.semidefinite.anderson import Anderson
from qnn.semidefinite.cone import project_to_cone
from qnn.semidefinite.coordinates import smat, svec
from qnn.semidefinite.diagonal import optimal_diagonals
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from qnn.training.relaxation.admm.estimates import (
    balance_diagonals,
    dual_estimate,
    dual_value,
    refine_diagonals,
)
from qnn.training.relaxation.admm.ridge import Ridge, dimension
from qnn.training.relaxation.scaling import scale_problem
from tests.qnn.training.relaxation.cases import ACTIVATIONS, make_problem, planted

Array = np.ndarray


def lifts(n: int, size: int) -> list[Lift]:
    rng = np.random.default_rng(n)
    F = rng.standard_normal((n, size))
    template = np.full((size, size), 0.7)
    template[-1, :] = template[:, -1] = 0.3
    template[-1, -1] = -0.4
    return [Lift(F, None, True), Lift(F, template, False)]


def dense_rows(lift: Lift) -> Array:
    """The lifted rows as vectors, projected to a constant diagonal where the lift asks for it."""
    rows = []
    for f in lift.features:
        A = np.outer(f, f) if lift.template is None else lift.template * np.outer(f, f)
        if not lift.free_diagonal:
            np.fill_diagonal(A, np.trace(A) / len(A))
        rows.append(A.ravel())
    return np.array(rows)


@pytest.mark.parametrize(("n", "size"), [(7, 5), (40, 5)])
@pytest.mark.parametrize("which", [0, 1])
def test_ridge_step_is_the_minimizer(n: int, size: int, which: int) -> None:
    lift = lifts(n, size)[which]
    ridge = Ridge(lift)
    assert ridge.in_rows == (n <= dimension(lift))
    rows, s = dense_rows(lift), 0.37
    rng = np.random.default_rng(1)
    target = rng.standard_normal(n)
    base = rng.standard_normal((size, size))
    base += base.T
    if not lift.free_diagonal:
        np.fill_diagonal(base, 0.3)
    ridge.set_shift(s)
    Z, residual = ridge.step(target.copy(), base.copy(), rows @ base.ravel())
    system = rows.T @ rows + s * np.eye(size**2)
    wanted = np.linalg.solve(system, rows.T @ target + s * base.ravel())
    np.testing.assert_allclose(Z.ravel(), wanted, atol=1e-10)
    np.testing.assert_allclose(residual, target - rows @ wanted, atol=1e-10)
    if not ridge.in_rows:
        again = ridge.step_by_moment(ridge.moment(target), base)
        np.testing.assert_allclose(again, Z, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1])
def test_coordinates_are_an_isometry(which: int) -> None:
    lift = lifts(3, 6)[which]
    rng = np.random.default_rng(2)
    Z = rng.standard_normal((6, 6))
    Z += Z.T
    if not lift.free_diagonal:
        np.fill_diagonal(Z, -0.2)
    z = svec(Z, lift.free_diagonal)
    assert z.shape == (dimension(lift),)
    assert np.linalg.norm(z) == pytest.approx(np.linalg.norm(Z))
    np.testing.assert_allclose(smat(z, lift.size, lift.free_diagonal), Z, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("size", "positive"), [(10, 0), (10, 2), (10, 5), (10, 8), (10, 10), (30, 0), (30, 7), (30, 29)]
)
def test_projection_to_the_cone(dtype: str, size: int, positive: int) -> None:
    rng = np.random.default_rng(positive)
    Q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    negative = -rng.uniform(0.1, 2, size - positive)
    values = np.concatenate([rng.uniform(0.1, 2, positive), negative])
    Y = ((Q * values) @ Q.T).astype(dtype)
    wanted = (Q * np.maximum(values, 0.0)) @ Q.T
    out = np.empty((size, size), dtype)
    for _ in range(2):
        factor = project_to_cone(Y, out)
        np.testing.assert_allclose(out, wanted, atol=1e-5 if dtype == "float32" else 1e-13)
        np.testing.assert_allclose(factor @ factor.T, wanted, atol=1e-5)


def test_anderson_takes_a_bold_step_back() -> None:
    x, accelerated = np.zeros(2), Anderson(2, 2)
    accelerated.advance(x, np.array([1.0, 0.0]))
    accelerated.advance(x, np.array([0.5, 0.2]))
    before = x.copy()
    x[:] = 1e6
    accelerated.advance(x, np.array([40.0, 40.0]))
    # The point of the least residual after its own step: [1, 0] + [0.5, 0.2].
    np.testing.assert_allclose(x, [1.5, 0.2])
    assert not np.allclose(before, x)
    accelerated.advance(x, np.array([0.1, 0.0]))
    np.testing.assert_allclose(x, [1.6, 0.2])


def test_anderson_solves_a_linear_map_in_its_dimension() -> None:
    rng = np.random.default_rng(3)
    G = 0.9 * np.linalg.qr(rng.standard_normal((6, 6)))[0]
    b = rng.standard_normal(6)
    x, accelerated = np.zeros(7), Anderson(7, 6)
    for _ in range(12):
        r = np.append(G @ x[:6] + b - x[:6], 0.0)
        r[6] = r[:6].sum()
        accelerated.advance(x, r)
    fixed = np.linalg.solve(np.eye(6) - G, b)
    np.testing.assert_allclose(x[:6], fixed, atol=1e-6)
    # The last entry follows the others linearly.
    assert x[6] == pytest.approx(x[:6].sum(), abs=1e-9)


@pytest.mark.parametrize("which", [0, 1])
def test_balanced_diagonals_are_feasible_and_close(which: int) -> None:
    lift = lifts(3, 6)[which]
    rng = np.random.default_rng(4)
    L, R = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    P, N, rho = balance_diagonals(lift, L @ L.T, R @ R.T)
    assert min(np.linalg.eigvalsh(P)[0], np.linalg.eigvalsh(N)[0]) >= -1e-12
    if lift.pairs:
        np.testing.assert_allclose(np.diag(P + N), rho[0], rtol=1e-14)
    else:
        np.testing.assert_allclose(np.diag(P), rho[0], rtol=1e-14)
        np.testing.assert_allclose(np.diag(N), rho[1], rtol=1e-14)
    again = balance_diagonals(lift, P, N)
    np.testing.assert_allclose(again[0], P, atol=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_refined_diagonals_are_feasible_and_near_the_best(activation: str) -> None:
    problem = make_problem(planted(50, 7), 0.1, "squared", activation)
    scaled = scale_problem(problem)
    nu = 0.4 * scaled.y
    M = scaled.lift.adjoint(nu)
    best = optimal_diagonals(M, scaled.lift.diagonals)
    rng = np.random.default_rng(5)
    start = tuple(a * rng.uniform(0.8, 1.2, len(a)) for a in best)
    estimate, shifted = dual_estimate(scaled, nu, M, start)
    refined = refine_diagonals(scaled, M, start, shifted)
    for a, b, c, sign in zip(refined, best, shifted, (-1.0, 1.0), strict=False):
        assert np.linalg.eigvalsh(np.diag(a) + sign * M)[0] >= -1e-12 * a.sum()
        assert a.sum() <= c.sum()
        assert a.sum() - b.sum() <= 0.4 * (c.sum() - b.sum())
    assert estimate <= dual_value(scaled, nu, refined) <= dual_value(scaled, nu, best) + 1e-9


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scaled_problem_has_the_same_objective(loss: str, activation: str) -> None:
    problem = make_problem(planted(20, 4), 0.1, loss, activation)
    shrunk = Problem(1e-3 * problem.X, problem.y, problem.beta, problem.loss, problem.activation)
    scaled = scale_problem(shrunk)
    rng = np.random.default_rng(6)
    D = scaled.size
    Z = rng.standard_normal((D, D))
    Z += Z.T
    value = scaled.loss.value(scaled.lift.apply(Z), scaled.y) + 0.7 * scaled.budget
    unit = scaled.z_unit
    own = problem.loss.value(shrunk.lift.apply(unit * Z), shrunk.y) + 0.7 * unit * shrunk.budget
    assert scaled.value_unit * value == pytest.approx(own, rel=1e-10)
    nu = scaled.loss.clip_dual(rng.standard_normal(20), scaled.y)
    M = scaled.lift.adjoint(nu) * scaled.diagonal_unit
    np.testing.assert_allclose(M, shrunk.lift.adjoint(scaled.nu_unit * nu), rtol=1e-9)
    again = scaled.with_budget(2.0 * shrunk.budget)
    assert again.budget == pytest.approx(2.0 * scaled.budget)


def test_beta_max_estimate_is_below_beta_max() -> None:
    for seed in range(10):
        X, y = planted(30, 6, seed=seed)
        for activation in ACTIVATIONS.values():
            problem = Problem(X, y, 1.0, activation=activation)
            assert 0.5 * problem.beta_max < problem.beta_max_estimate
            assert problem.beta_max_estimate <= problem.beta_max * (1.0 + 1e-12)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_a_path_is_cheaper_than_its_cold_solves_and_needs_no_trail(loss: str) -> None:
    problem = make_problem(planted(80, 10), 1.0, loss, "bilinear")
    betas = problem.beta_max * np.logspace(-0.2, -2.0, 10)
    warm, cold, previous = 0.0, 0.0, None
    for beta in betas:
        twin = problem.with_beta(beta)
        previous = solve(twin, 1e-3, warm_start=previous)
        assert previous.gap <= 1e-3
        warm += previous.statistics["iterations"]
        cold += solve(twin, 1e-3).statistics["iterations"]
    assert warm < 0.7 * cold
    assert previous is not None
    without = copy.copy(previous)
    object.__setattr__(without, "trail", copy.copy(previous.trail))
    again = solve(problem.with_beta(0.8 * betas[-1]), 1e-3, warm_start=without)
    assert again.gap <= 1e-3
