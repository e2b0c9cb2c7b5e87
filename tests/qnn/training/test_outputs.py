import math
from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.certificates.checker import verify
from qnn.errors import CertificateError, InputError
from qnn.networks.activations import Polynomial
from qnn.networks.stacks import stack
from qnn.numerics.gaps import sum_down
from qnn.training.fit import train
from qnn.training.outputs import train_outputs
from qnn.training.problems.problem import Problem
from qnn.training.problems.vector import VectorProblem
from tests.qnn.bruteforce import all_neurons, exact_optimum, loss_expression


def make(n=14, d=3, outputs=2, fraction=0.15, seed=0, **fields):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    Y = np.sign(rng.standard_normal((n, outputs)))
    problem = VectorProblem(X, Y, beta=1.0, **fields)
    return problem.with_beta(fraction * problem.beta_max)


def joint_optimum(problem):
    """The vector problem as one: all neurons, alpha (m, C), the l1 norm of each row."""
    first = problem.outputs[0]
    hidden = all_neurons(first)
    alpha = cp.Variable((hidden.shape[1], len(problem.outputs)))
    losses = [
        loss_expression(scalar, hidden @ alpha[:, c]) for c, scalar in enumerate(problem.outputs)
    ]
    objective = sum(losses) + first.budget * cp.sum(cp.norm1(alpha, axis=1))
    return float(cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL))


@pytest.mark.parametrize(
    ("outputs", "fields"),
    [
        (2, {}),
        (3, {}),
        (2, {"loss": "logistic"}),
        (3, {"loss": "hinge"}),
        (2, {"loss": "absolute", "alphabet": "ternary", "d": 2}),
        (3, {"activation": Polynomial(0.3, 0.5, 0.2)}),
    ],
    ids=str,
)
def test_the_joint_optimum_is_the_sum_of_the_scalar_ones_and_bounded(outputs, fields):
    problem = make(outputs=outputs, seed=outputs, **fields)
    trained = train_outputs(problem)
    optimum = joint_optimum(problem)
    assert optimum == pytest.approx(sum(map(exact_optimum, problem.outputs)), rel=1e-6)
    assert trained.lower_bound <= optimum * (1 + 1e-9)
    assert optimum * (1 - 1e-7) <= trained.objective <= optimum * (1 + 5e-4)
    assert trained.objective == pytest.approx(sum(part.objective for part in trained.outputs))
    assert trained.gap == pytest.approx(1 - trained.lower_bound / trained.objective)
    exact = problem.outputs[0].activation.name == "bilinear" and "alphabet" not in fields
    if exact:
        proven = train_outputs(problem, certify="exact")
        assert trained.lower_bound <= proven.lower_bound <= optimum * (1 + 1e-9)
        assert proven.gap < 1e-3


def test_the_relaxations_of_the_outputs_are_the_relaxation_of_the_whole():
    problem = make(n=40, d=7, outputs=3, seed=4)
    first = problem.outputs[0]
    total, constraints = 0.0, []
    for scalar in problem.outputs:
        P, N = (cp.Variable((7, 7), PSD=True) for _ in range(2))
        rho = cp.Variable()
        constraints.append(cp.diag(P) + cp.diag(N) == rho)
        predictions = cp.sum(cp.multiply(first.X @ (P - N), first.X), axis=1)
        total += loss_expression(scalar, predictions) + first.budget * rho
    value = float(cp.Problem(cp.Minimize(total), constraints).solve(solver=cp.CLARABEL))
    trained = train_outputs(problem, width=6)
    assert value * (1 - 3e-4) <= trained.lower_bound <= value * (1 + 1e-7)
    assert trained.objective > value


def test_the_objective_is_loss_plus_penalty_of_the_joined_network():
    problem = make(n=30, d=5, outputs=3, seed=1)
    trained = train_outputs(problem, width=5)
    network, X = trained.network, problem.outputs[0].X
    assert network.alpha.shape == (network.neurons, 3)
    Y = np.column_stack([scalar.y for scalar in problem.outputs])
    loss = 0.5 * np.sum((network.decision_function(X) - Y) ** 2)
    penalty = problem.beta * 5 * np.abs(network.alpha).sum()
    assert trained.objective == pytest.approx(loss + penalty, rel=1e-12)
    assert np.all((network.alpha != 0).sum(axis=0) <= 5)
    assert network.beta == problem.beta
    assert network.to_bytes() == stack([part.network for part in trained.outputs]).to_bytes()


def test_each_certificate_proves_the_bound_of_its_own_column(tmp_path):
    problem = make(n=30, d=4, outputs=3, seed=2)
    trained = train_outputs(problem)
    first = problem.outputs[0]
    bounds = []
    for c, certificate in enumerate(trained.certificates):
        assert certificate.output == c
        certificate.save(tmp_path / f"{c}.npz")
        bounds.append(verify(type(certificate).load(tmp_path / f"{c}.npz"), first.X,
                             problem.outputs[c].y))  # fmt: skip
        with pytest.raises(CertificateError, match="the data are not those of the certificate"):
            verify(certificate, first.X, problem.outputs[c - 1].y)
        raised = certificate.stating(lower_bound=certificate.lower_bound * (1 + 1e-6))
        with pytest.raises(CertificateError, match="only"):
            verify(raised, first.X, problem.outputs[c].y)
    assert trained.lower_bound <= sum_down(bounds)
    assert trained.lower_bound == pytest.approx(math.fsum(bounds), rel=1e-9)


@settings(max_examples=300)
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=12))
def test_a_sum_of_bounds_is_rounded_down(bounds):
    total, exact = sum_down(bounds), sum(map(Fraction, bounds))
    assert Fraction(total) <= exact
    assert Fraction(math.nextafter(total, math.inf)) > exact


def test_an_output_above_its_own_beta_max_gets_no_neurons():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((30, 4))
    Y = np.column_stack([5.0 * X[:, 0] * X[:, 1], 0.1 * rng.standard_normal(30), np.zeros(30)])
    problem = VectorProblem(X, Y, beta=1.0)
    own = [scalar.beta_max for scalar in problem.outputs]
    assert problem.beta_max == max(own) == own[0] > own[1] > own[2] == 0.0
    between = problem.with_beta(math.sqrt(own[0] * own[1]))
    trained = train_outputs(between)
    used = (trained.network.alpha != 0.0).any(axis=0)
    assert used.tolist() == [True, False, False]
    zero = trained.outputs[1]
    assert zero.objective == pytest.approx(0.5 * np.sum(Y[:, 1] ** 2))
    assert zero.lower_bound == pytest.approx(zero.objective, rel=1e-6)
    assert verify(zero.certificate, X, Y[:, 1]) >= zero.lower_bound
    assert trained.outputs[2].objective == trained.outputs[2].lower_bound == 0.0
    none = train_outputs(problem.with_beta(problem.beta_max))
    assert none.network.alpha.shape == (0, 3)
    assert none.gap < 1e-6
    below = train_outputs(problem.with_beta(0.9 * problem.beta_max), certify="exact")
    assert below.lower_bound <= 0.5 * np.sum(Y**2)


def test_outputs_can_be_trained_apart():
    problem = make(n=60, d=6, outputs=3, fraction=0.05)
    trained = train_outputs(problem, seed=7, width=4)
    streams = np.random.default_rng(7).spawn(3)
    for scalar, rng, part in zip(problem.outputs, streams, trained.outputs, strict=True):
        assert train(scalar, rng, width=4).network.to_bytes() == part.network.to_bytes()
    again = train_outputs(problem, seed=np.random.default_rng(7), width=4)
    assert again.network.to_bytes() == trained.network.to_bytes()


def test_a_time_limit_is_shared_out_and_the_bound_stays_honest():
    problem = make(n=200, d=12, outputs=3, fraction=0.02)
    hurried = train_outputs(problem, time_limit=1e-3)
    free = train_outputs(problem, width=3)
    assert hurried.lower_bound <= free.objective
    assert len(hurried.certificates) == 3
    with pytest.raises(InputError, match=r"^time_limit must be positive seconds \(got 0.0\)"):
        train_outputs(problem, time_limit=0.0)


@pytest.mark.parametrize("second_layer", ["common", 3])
def test_a_grid_has_a_scalar_for_each_output(second_layer):
    problem = make(n=40, d=5, outputs=2, fraction=0.05, alphabet="ternary")
    trained = train_outputs(problem, width=8, second_layer=second_layer)
    network = trained.network
    assert network.second_layer == str(second_layer)
    assert network.scalars <= 2
    assert trained.lower_bound <= train_outputs(problem).objective <= trained.objective


def test_another_target_shares_the_matrix_and_nothing_of_the_old_target():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))
    one = Problem(X, Y[:, 0], beta=0.5, alphabet=2, activation=Polynomial(1, 1, 0))
    known = (one.lift, one.atoms, one.beta_max, one.beta_max_estimate, one.data_sha256)
    twin, fresh = (
        one.with_target(Y[:, 1]),
        Problem(X, Y[:, 1], beta=0.5, alphabet=2, activation=Polynomial(1, 1, 0)),
    )
    assert twin.X is one.X
    assert (twin.lift, twin.atoms) == known[:2]
    assert twin.y.tolist() == fresh.y.tolist()
    for name in ("beta_max", "beta_max_estimate", "data_sha256"):
        assert getattr(twin, name) == getattr(fresh, name) != getattr(one, name)
    with pytest.raises(InputError, match=r"^loss 'hinge' needs targets -1 or \+1"):
        Problem(X, np.sign(Y[:, 0]), 0.5, loss="hinge").with_target(Y[:, 1])


def test_what_is_no_vector_problem_is_refused():
    X, Y = np.eye(3), np.ones((3, 2))
    with pytest.raises(InputError) as error:
        VectorProblem(X, Y[:, 0], beta=1.0)
    assert str(error.value) == (
        "Y must have one row a row of X and one column an output (got shape (3,))"
    )
    with pytest.raises(InputError, match=r"^y must have one entry a row of X, 3 \(got shape \(2"):
        VectorProblem(X, Y[:2], beta=1.0)
    with pytest.raises(InputError) as error:
        Problem(X, Y, beta=1.0)
    assert str(error.value) == (
        "y must have one entry a row of X, 3 (got shape (3, 2)); for several outputs see "
        "qnn.VectorProblem"
    )
    problem = VectorProblem(X, Y, beta=1.0)
    network = train_outputs(VectorProblem(X, np.ones((3, 3)), beta=1.0)).network
    with pytest.raises(InputError) as error:
        problem.objective(network)
    assert str(error.value) == "a network of 3 outputs has no objective in a problem of 2"
    with pytest.raises(InputError, match=r"^certify 'proof' is not known"):
        train_outputs(problem, certify="proof")
