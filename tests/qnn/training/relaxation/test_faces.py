"""A dual point moved to the primal's face: the equations hold, and the bound gains an order."""

import numpy as np
import pytest

from qnn.losses import LOSSES
from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from qnn.training.relaxation.admm.estimates import dual_estimate
from qnn.training.relaxation.admm.faces import onto_face
from qnn.training.relaxation.admm.ridge import Ridge
from qnn.training.relaxation.admm.splitting import Splitting
from qnn.training.relaxation.admm.starts import Trail, start
from qnn.training.relaxation.scaling import ScaledProblem, scale_problem
from tests.qnn.training.relaxation.cases import ACTIVATIONS, make_problem, planted

Array = np.ndarray


def near_optimum(
    problem: Problem, dtype: str, value: float
) -> tuple[ScaledProblem, Splitting, float]:
    """A state whose own bound is within half a percent of the optimum, and this bound."""
    scaled = scale_problem(problem)
    state = start(problem, scaled, Trail(), None, dtype)
    for _ in range(200):
        state.step()
        bound = dual_estimate(scaled, *state.dual())[0]
        if bound >= 0.995 * value / scaled.value_unit:
            return scaled, state, bound
    raise AssertionError("it should come near")


def orthonormal(size: int, rank: int, rng: np.random.Generator) -> Array:
    return np.asarray(np.linalg.qr(rng.standard_normal((size, rank)))[0])


@pytest.mark.parametrize("loss", ["squared", "huber", "logistic", "hinge"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("ranks", [(3, 2), (2, 0), (0, 3)])
def test_slacks_vanish_on_the_face(loss: str, activation: str, ranks: tuple[int, int]) -> None:
    problem = make_problem(planted(300, 6), 0.1, loss, activation)
    scaled = scale_problem(problem)
    lift, ridge = scaled.lift, Ridge(scaled.lift)
    rng = np.random.default_rng(0)
    bases = [orthonormal(lift.size, rank, rng) for rank in ranks]
    nu = scaled.loss.clip_dual(-0.5 * scaled.loss.gradient(np.zeros(300), scaled.y), scaled.y)
    M = lift.adjoint(nu)
    scale = float(np.abs(M).max())
    diagonals = tuple(scale * rng.random(lift.size) for _ in range(lift.diagonals))
    factors = tuple(U * np.arange(1.0, U.shape[1] + 1.0) for U in bases)
    moved = onto_face(scaled, ridge, (factors[0], factors[1]), (nu, M, diagonals))
    assert moved is not None
    np.testing.assert_allclose(moved[1], lift.adjoint(moved[0]), atol=1e-12)
    for before, after in zip(diagonals, moved[2], strict=True):
        assert abs(before.sum() - after.sum()) <= 1e-9 * np.abs(before).sum() + 1e-12
    for (a, sign), U in zip(lift.sides(moved[2]), bases, strict=True):
        block = U.T @ (np.diag(a) - sign * moved[1]) @ U
        if loss == "squared":  # others may reach the ends of nu's domain
            assert np.abs(block).max(initial=0.0) <= 1e-4 * scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("loss", ["squared", "huber", "logistic"])
def test_the_bound_gains_and_claims_no_more_than_the_truth(
    dtype: str, activation: str, loss: str
) -> None:
    problem = make_problem(planted(150, 8), 0.1, loss, activation)
    exact = solve(problem, 1e-8)
    scaled, state, plain = near_optimum(problem, dtype, exact.upper_bound)
    value = exact.upper_bound / scaled.value_unit
    moved = onto_face(scaled, state.ridge, state.factors(), state.dual())
    assert moved is not None
    better = dual_estimate(scaled, *moved)[0]
    assert value - better >= -1e-7 * value
    # Which rows stay at the ends of their domain is not settled yet where there are ends: there it
    # is not much farther.
    part = 1.5 if loss == "huber" else 0.3
    assert value - better <= part * (value - plain)


def test_it_is_left_out_where_the_face_is_too_large() -> None:
    problem = make_problem(planted(20, 8), 0.1, "squared", "bilinear")
    scaled = scale_problem(problem)
    nu = 0.1 * scaled.y
    M = scaled.lift.adjoint(nu)
    whole = np.eye(8)
    dual = nu, M, (np.abs(M).sum(axis=1),)
    assert onto_face(scaled, Ridge(scaled.lift), (whole, whole), dual) is None
    nothing = np.zeros((8, 2))
    assert onto_face(scaled, Ridge(scaled.lift), (nothing, nothing), dual) is None


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("activation", [Polynomial(1.0, 0.0, 0.0), Polynomial(0.0, 1.0, 0.0)])
def test_degenerate_templates_are_no_trouble(loss: str, activation: Polynomial) -> None:
    X, y = planted(60, 5)
    y = y / y.std() if loss in ("squared", "absolute", "huber") else np.sign(y)
    problem = Problem(X, y, 1.0, loss=loss, activation=activation)
    found = solve(problem.with_beta(0.1 * problem.beta_max), 1e-4)
    assert found.gap <= 1e-4
