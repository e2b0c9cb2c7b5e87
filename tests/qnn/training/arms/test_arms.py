import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qnn
from qnn.errors import InputError
from qnn.training.arms import ALL, QUANTIZED, REFERENCES, get_arm
from qnn.training.arms.base import Layer, gradients, nearest_levels, random_layer, to_alphabet
from qnn.training.arms.references.cross_validation import size_in_bytes
from qnn.training.arms.spectrahedra import spectrahedra
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from tests.qnn.bruteforce import exact_optimum


def problem(seed: int = 0, n: int = 40, d: int = 6, beta: float = 0.5, **options: Any) -> Problem:
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.standard_normal((n, d - 1)), np.ones(n)])
    y = np.sign(X[:, 0] * X[:, 1] + 0.3 * rng.standard_normal(n))
    return Problem(X, y, beta, **options)


@pytest.mark.parametrize("name", QUANTIZED)
def test_an_arm_keeps_width_time_and_weights(name: str) -> None:
    given = problem()
    began = time.monotonic()
    network = get_arm(name)(given, 5, 0.3, np.random.default_rng(1))
    # Compiling the kernel of annealing is no part of its time.
    assert time.monotonic() - began < 0.3 + (60.0 if name == "annealing" else 2.0)
    assert network.neurons <= 5
    assert set(np.unique(network.U)) <= {-1, 1}
    zero = given.loss.value(np.zeros(given.n), given.y)
    assert given.objective(network) < zero
    # Its second layer is optimal for its neurons.
    H = given.activation.hidden(given.X, network.U.astype(float), network.V.astype(float))
    steepest = np.abs(H.T @ (given.y - H @ network.alpha)).max()
    assert steepest <= given.budget * (1 + 1e-6)


@pytest.mark.parametrize("name", ["straight_through", "rounded_floats", "random_signs"])
@pytest.mark.parametrize("alphabet", ["binary", "ternary", "2"])
@pytest.mark.parametrize("activation", ["bilinear", qnn.Polynomial(0.1, 0.5, 0.4)])
@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_arms_take_other_losses_activations_and_alphabets(
    name: str, alphabet: str, activation: Any, loss: str
) -> None:
    given = problem(loss=loss, activation=activation, alphabet=alphabet)
    network = get_arm(name)(given, 4, 0.05, np.random.default_rng(1))
    assert network.alphabet == alphabet
    assert (network.polynomial is None) == (activation == "bilinear")
    assert np.isfinite(given.objective(network))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.sampled_from(QUANTIZED), st.floats(0.05, 5.0))
def test_no_arm_gets_below_the_bound(seed: int, name: str, beta: float) -> None:
    given = problem(seed, n=20, d=4, beta=beta)
    network = get_arm(name)(given, 6, 0.05, np.random.default_rng(seed))
    assert given.objective(network) >= solve(given, tol=1e-3).lower_bound


@pytest.mark.parametrize(
    ("name", "factor"), [("straight_through", 1.03), ("annealing", 1.01), ("random_signs", 1.01)]
)
def test_arms_come_near_the_optimum_of_a_small_problem(name: str, factor: float) -> None:
    given = problem(n=40, d=4)
    found = get_arm(name)(given, 12, 1.5, np.random.default_rng(0))
    assert given.objective(found) <= factor * exact_optimum(given)


def test_the_nearest_level_is_nearest() -> None:
    for alphabet in ("binary", "ternary", "2", "3"):
        given = problem(alphabet=alphabet)
        values = np.random.default_rng(0).uniform(-1.2, 1.2, (50, 3))
        chosen = nearest_levels(given, values) / given.alphabet.divisor
        all_levels = np.array(given.alphabet.levels) / given.alphabet.divisor
        nearest = np.abs(values[..., None] - all_levels).min(axis=-1)
        np.testing.assert_allclose(np.abs(values - chosen), nearest)


@pytest.mark.parametrize("activation", ["bilinear", qnn.Polynomial(0.3, -0.5, 0.4)])
def test_gradients_are_those_of_finite_differences(activation: Any) -> None:
    given = problem(activation=activation)
    rng = np.random.default_rng(2)
    layer, back = random_layer(given, 3, rng), rng.standard_normal((given.n, 3))

    def total(U: np.ndarray, V: np.ndarray | None) -> float:
        return float(np.sum(back * Layer(U, V).hidden(given.X, given)))

    by_U, by_V = gradients(given, given.X, layer, back)
    for i, j in ((0, 0), (4, 2)):
        step = np.zeros_like(layer.U)
        step[i, j] = 1e-6
        change = total(layer.U + step, layer.V) - total(layer.U - step, layer.V)
        np.testing.assert_allclose(by_U[i, j], change / 2e-6, rtol=1e-5)
        if layer.V is not None and by_V is not None:
            change = total(layer.U, layer.V + step) - total(layer.U, layer.V - step)
            np.testing.assert_allclose(by_V[i, j], change / 2e-6, rtol=1e-5)
    assert set(np.unique(to_alphabet(given, layer).U)) == {-1.0, 1.0}


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_the_float_ceiling_is_the_optimum_of_its_convex_problem(loss: str) -> None:
    import cvxpy

    given = problem(loss=loss, beta=0.8)
    found = spectrahedra(given, 20.0)
    Z = cvxpy.Variable((given.d, given.d), symmetric=True)
    f = cvxpy.hstack([x @ Z @ x for x in given.X])
    value = (
        0.5 * cvxpy.sum_squares(f - given.y)
        if loss == "squared"
        else cvxpy.sum(cvxpy.logistic(-cvxpy.multiply(given.y, f)))
    )
    optimum = cvxpy.Problem(cvxpy.Minimize(value + given.beta * cvxpy.normNuc(Z))).solve(
        solver="CLARABEL"
    )
    assert found.objective == pytest.approx(optimum, rel=1e-5)
    assert found.objective <= solve(given, tol=1e-4).upper_bound * (1 + 1e-6)
    scores = found.decision_function(given.X)
    assert given.loss.value(scores, given.y) == pytest.approx(found.loss_value)


@pytest.mark.parametrize("name", REFERENCES)
def test_references_fit_labels_and_have_a_size(name: str) -> None:
    given = problem(n=60)
    model = get_arm(name)(given.X, given.y, 0)
    assert set(model.predict(given.X)) <= {-1.0, 1.0}
    assert size_in_bytes(model) > 300
    again = get_arm(name)(given.X, given.y, 0)
    assert (again.predict(given.X) == model.predict(given.X)).all()
    few = get_arm(name)(given.X[:5], np.array([1.0, 1, 1, -1, -1]), 0)
    assert few.predict(given.X[:5]).shape == (5,)


def test_what_an_arm_cannot_take_is_refused() -> None:
    with pytest.raises(InputError, match=r"^baseline annealing takes the squared loss, the bilin"):
        get_arm("annealing")(problem(loss="hinge"), 3, 0.1, np.random.default_rng(0))
    with pytest.raises(InputError, match=r"^baseline spectrahedra takes the bilinear activation"):
        get_arm("spectrahedra")(problem(loss="hinge"), 0.1)
    with pytest.raises(InputError, match=r"^baseline 'luck' is not known: choose one of straight_"):
        get_arm("luck")
    assert len(set(ALL)) == len(ALL) == 11
