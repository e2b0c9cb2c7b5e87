"""The problem, its lifted operators, and beta_max, against enumeration and cvxpy."""

import cvxpy as cp
import numpy as np
import pytest

from qnn.errors import InputError
from qnn.networks.activations import Polynomial
from qnn.semidefinite.diagonal import optimal_diagonals
from qnn.training.problems.problem import Problem
from tests.qnn.bruteforce import all_neurons, sign_vectors

RELU = Polynomial(0.0937, 0.5, 0.4688)


def example(n: int = 15, d: int = 4, **kwargs: object) -> Problem:
    rng = np.random.default_rng(7)
    return Problem(rng.normal(size=(n, d)), rng.normal(size=n), beta=0.3, **kwargs)


@pytest.mark.parametrize("activation", ["bilinear", RELU])
@pytest.mark.parametrize("alphabet", ["binary", "ternary", 2, 3])
def test_the_lift_of_a_neuron_is_its_output(activation, alphabet):
    problem = example(activation=activation, alphabet=alphabet)
    rng = np.random.default_rng(0)
    scales = problem.alphabet.scales
    bits = rng.choice([-1.0, 1.0], size=(len(scales), problem.d))
    weights = sum(s * b for s, b in zip(scales, bits, strict=True))
    if activation == "bilinear":
        v = rng.choice([-1.0, 1.0], problem.d)
        Z = 0.5 * (np.outer(weights, v) + np.outer(v, weights))
        direct = problem.activation.hidden(problem.X, weights[:, None], v[:, None])[:, 0]
    else:
        lifted = np.concatenate([*bits, [1.0]])
        Z = np.outer(lifted, lifted)
        direct = problem.activation.hidden(problem.X, weights[:, None], None)[:, 0]
    np.testing.assert_allclose(problem.lift.apply(Z), direct, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["bilinear", RELU])
def test_adjoint_and_gram_fit_apply(activation):
    lift = example(activation=activation, alphabet=2).lift
    rng = np.random.default_rng(1)
    S = rng.normal(size=(lift.size, lift.size))
    S = S + S.T
    nu = rng.normal(size=15)
    assert nu @ lift.apply(S) == pytest.approx(np.sum(lift.adjoint(nu) * S))
    np.testing.assert_allclose(lift.gram() @ nu, lift.apply(lift.adjoint(nu)), rtol=1e-10)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("d", [1, 2, 6])
def test_optimal_diagonals_against_cvxpy(count, d):
    rng = np.random.default_rng(d)
    M = rng.normal(size=(d, d))
    M = M + M.T
    ours = optimal_diagonals(M, count)
    for index, diagonal in enumerate(ours):
        a = cp.Variable(d)
        slacks = (
            [cp.diag(a) - M, cp.diag(a) + M] if count == 1 else [cp.diag(a) - M * (-1) ** index]
        )
        theirs = cp.Problem(cp.Minimize(cp.sum(a)), [S >> 0 for S in slacks])
        value = theirs.solve(solver=cp.CLARABEL)
        assert diagonal.sum() == pytest.approx(value, rel=1e-6, abs=1e-8)
        assert diagonal.sum() >= value - 1e-7 * abs(value)
        for S in (np.diag(diagonal) - M * (1 if count == 1 else (-1) ** index),):
            assert np.linalg.eigvalsh(S)[0] > 0


def test_optimal_diagonals_of_zero_and_of_extreme_scales():
    assert np.all(optimal_diagonals(np.zeros((3, 3)), 1)[0] == 0)
    M = np.array([[1.0, 2.0], [2.0, -3.0]])
    base = optimal_diagonals(M, 1)[0].sum()
    for scale in (1e-150, 1e-8, 1e8, 1e150):
        assert optimal_diagonals(scale * M, 1)[0].sum() == pytest.approx(scale * base, rel=1e-8)


def test_beta_max_is_above_the_exact_threshold_and_near_the_relaxations():
    """Enumeration gives the exact threshold, at most Krivine's constant below."""
    problem = example()
    correlations = np.abs(all_neurons(problem).T @ problem.y).max()
    signs = sign_vectors(problem.d)
    M = problem.lift.adjoint(problem.y)
    assert np.abs(signs.T @ M @ signs).max() == pytest.approx(correlations)
    assert correlations / problem.d <= problem.beta_max <= 1.783 * correlations / problem.d


def test_the_penalty_counts_the_columns_of_x_whatever_the_lift():
    problem = example(alphabet=3, activation=RELU)
    U = np.full((4, 2), 7, dtype=np.int8)
    alpha = np.array([0.5, -0.25])
    predictions = problem.activation.hidden(problem.X, np.ones((4, 2)), None) @ alpha
    expected = 0.5 * ((predictions - problem.y) ** 2).sum() + 0.3 * 4 * 0.75
    assert problem.objective_of(U, None, alpha) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((0, 3))}, r"X must have rows and columns \(got shape \(0, 3\)\)"),
        ({"X": [["a"]]}, "X must be an array of numbers"),
        ({"X": np.array([[1.0, np.nan]])}, "X has nan in row 0, column 1: drop or impute it first"),
        ({"y": np.ones(3)}, r"y must have one entry a row of X, 2 \(got shape \(3,\)\)"),
        ({"y": np.array([1.0, np.inf])}, "y has inf in row 1: drop the row first"),
        ({"y": ["a", "b"]}, "y must be numbers: encode classes as -1 and"),
        ({"beta": 0.0}, r"beta must be a positive number \(got 0.0\)"),
        ({"beta": np.nan}, "beta must be a positive number"),
        ({"beta": "x"}, r"beta must be a positive number \(got 'x'\)"),
        ({"activation": "relu"}, "activation 'relu' is not known: choose 'bilinear' or"),
        ({"alphabet": "trits"}, "alphabet 'trits' is not known: choose binary, ternary or 1 to"),
        ({"alphabet": 9}, "alphabet 9 is not known"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(change, message):
    arguments = {"X": np.ones((2, 2)), "y": np.ones(2), "beta": 1.0} | change
    with pytest.raises(InputError, match=message) as raised:
        Problem(**arguments)
    assert "\n" not in str(raised.value)


def test_a_problem_does_not_change_under_its_owner():
    X = np.ones((3, 2))
    problem = Problem(X, np.ones(3), beta=1.0)
    X[0, 0] = 5.0
    assert problem.X[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        problem.X[0, 0] = 2.0
    assert problem.with_beta(2.0).budget == 4.0
    assert problem.budget == 2.0
