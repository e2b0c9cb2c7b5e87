"""Training with sample weights: integer ones are repeated rows, all others their own truth."""

import numpy as np
import pytest

import qnn
from qnn.errors import InputError
from qnn.networks.activations import Polynomial
from qnn.training.arms import ARMS
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from qnn.training.rounding.annealed import can_anneal, compress
from tests.qnn.bruteforce import exact_optimum

LOSSES = ("squared", "logistic", "hinge", "squared_hinge", "absolute", "huber")
RELU = Polynomial(0.5, 1.0, 0.2)


def rows_of(loss: str, n: int = 14, d: int = 4):
    rng = np.random.default_rng(0)
    X, counts = rng.normal(size=(n, d)), rng.integers(1, 4, n)
    y = np.sign(X[:, 0] * X[:, 1] + 0.2 * rng.normal(size=n))
    if loss in ("squared", "absolute", "huber"):
        y = 1.7 * y + X[:, 2]
    return X, y, counts


@pytest.mark.parametrize("activation", ["bilinear", RELU])
@pytest.mark.parametrize(
    ("loss", "level"),
    [
        *((loss, level) for loss in LOSSES for level in ("relaxation", "exact")),
        ("squared", "tightened"),
    ],
)
def test_integer_weights_train_as_repeated_rows(loss, activation, level):
    """The same network, objective and bound (of a relaxation up to its tolerance)."""
    X, y, counts = rows_of(loss)
    often = np.repeat(np.arange(len(y)), counts)
    weighted = Problem(X, y, 1.0, loss, activation, sample_weight=counts.astype(float))
    repeated = Problem(X[often], y[often], 1.0, loss, activation)
    assert weighted.beta_max == pytest.approx(repeated.beta_max, rel=1e-6)
    beta = 0.2 * repeated.beta_max
    ours = qnn.train(weighted.with_beta(beta), certify=level)
    theirs = qnn.train(repeated.with_beta(beta), certify=level)
    np.testing.assert_array_equal(ours.network.U, theirs.network.U)
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-8)
    tolerance = 1e-6 if level == "exact" else 3e-4
    assert ours.lower_bound == pytest.approx(theirs.lower_bound, rel=tolerance)
    assert qnn.verify(ours.certificate, X, y) >= ours.lower_bound
    # The network's objective on the repeated rows is what the weighted problem says it is.
    assert repeated.with_beta(beta).objective(ours.network) == pytest.approx(ours.objective)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alphabet", ["binary", "ternary"])
def test_the_weighted_optimum_is_the_enumerated_one(loss, alphabet):
    X, y, _ = rows_of(loss, n=9, d=3)
    weights = 10.0 ** np.random.default_rng(5).uniform(-1.5, 1.5, 9)
    problem = Problem(X, y, 1.0, loss, alphabet=alphabet, sample_weight=weights)
    problem = problem.with_beta(0.1 * problem.beta_max)
    trained = qnn.train(problem, certify="exact")
    assert trained.gap <= 1e-6
    assert trained.objective == pytest.approx(exact_optimum(problem), rel=1e-6)


@pytest.mark.parametrize("solver", ["admm", "low-rank", "interior-point", "cvxpy-clarabel"])
@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_all_solvers_agree_on_a_weighted_problem(solver, loss):
    X, y, _ = rows_of(loss, n=40, d=4)
    weights = 10.0 ** np.random.default_rng(6).uniform(-1, 1, 40)
    problem = Problem(X, y, 1.0, loss, sample_weight=weights)
    problem = problem.with_beta(0.1 * problem.beta_max)
    if solver == "low-rank" and loss == "hinge":
        with pytest.raises(InputError, match="not smooth enough"):
            solve(problem, solver=solver)
        return
    found, other = solve(problem, tol=1e-6, solver=solver), solve(problem, tol=1e-6)
    assert found.gap <= 2e-5
    assert found.lower_bound == pytest.approx(other.lower_bound, rel=3e-5)


@pytest.mark.parametrize("size", [1e-60, 1e-8, 1e8, 1e60])
@pytest.mark.parametrize("loss", ["squared", "logistic", "huber"])
def test_a_common_factor_of_weights_and_beta_changes_nothing(size, loss):
    X, y, counts = rows_of(loss)
    problem = Problem(X, y, 1.0, loss, sample_weight=counts.astype(float))
    beta = 0.2 * problem.beta_max
    ours = qnn.train(problem.with_beta(beta))
    scaled = qnn.train(problem.with_weights(size * counts).with_beta(size * beta))
    np.testing.assert_array_equal(ours.network.U, scaled.network.U)
    assert scaled.objective == pytest.approx(size * ours.objective, rel=1e-9)
    assert scaled.lower_bound == pytest.approx(size * ours.lower_bound, rel=3e-4)


def test_weights_of_train_and_of_the_problem_are_one():
    X, y, counts = rows_of("squared")
    plain = Problem(X, y, 3.0)
    by_train = qnn.train(plain, sample_weight=counts)
    by_problem = qnn.train(Problem(X, y, 3.0, sample_weight=counts))
    assert by_train.objective == by_problem.objective
    assert by_train.certificate.to_bytes() == by_problem.certificate.to_bytes()
    with pytest.raises(InputError, match=r"weight of row 0 is 0: .*leave out rows of weight 0"):
        qnn.train(plain, sample_weight=np.zeros(len(y)))
    assert qnn.train(plain).certificate.weights is None


def test_several_outputs_share_the_weights():
    X, y, counts = rows_of("squared")
    Y = np.column_stack([y, X[:, 0]])
    trained = qnn.train_outputs(qnn.VectorProblem(X, Y, 3.0), sample_weight=counts)
    alone = qnn.train(Problem(X, Y[:, 1], 3.0, sample_weight=counts))
    assert trained.outputs[1].lower_bound == pytest.approx(alone.lower_bound, rel=1e-4)
    for certificate, column in zip(trained.certificates, Y.T, strict=True):
        qnn.verify(certificate, X, np.ascontiguousarray(column))


def test_a_narrow_network_is_judged_by_the_weights():
    """Bits, descents and annealing follow the weighted objective: repeated rows end as low."""
    rng = np.random.default_rng(3)
    X = np.column_stack([rng.normal(size=(60, 3)), np.ones(60)])
    y, counts = np.sign(X[:, 0] * X[:, 1] + 0.3), rng.integers(1, 30, 60)
    weighted = Problem(X, y, 1.0, sample_weight=counts.astype(float))
    often = np.repeat(np.arange(60), counts)
    repeated = Problem(X[often], y[often], 1.0)
    assert can_anneal(weighted, 2)
    beta = 0.02 * repeated.beta_max
    ours = qnn.train(weighted.with_beta(beta), width=2)
    theirs = qnn.train(repeated.with_beta(beta), width=2)
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-6)
    (Q, target), (other, goal) = compress(weighted), compress(repeated)
    assert float(target @ target) == pytest.approx(float(goal @ goal))
    assert np.abs(Q[0, 1] @ target) == pytest.approx(np.abs(other[0, 1] @ goal))


@pytest.mark.parametrize("arm", ["straight_through", "annealing", "random_signs", "spectrahedra"])
def test_arms_lower_the_weighted_objective(arm):
    X, y, counts = rows_of("squared", n=60)
    problem = Problem(X, y, 1.0, sample_weight=counts.astype(float))
    problem = problem.with_beta(0.05 * problem.beta_max)
    assert arm in ARMS
    of_zero = problem.loss.value(np.zeros(60), y)
    rng = np.random.default_rng(0)
    if arm == "spectrahedra":
        from qnn.training.arms.spectrahedra import spectrahedra

        assert spectrahedra(problem, 0.3).objective < of_zero
        return
    from importlib import import_module

    run = getattr(import_module(f"qnn.training.arms.{arm}"), arm)
    assert problem.objective(run(problem, 4, 0.3, rng)) < of_zero
