"""The proven optimum against the enumerated one: the networks', not the sign vectors'."""

import time

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from qnn.certificates.checker import verify
from qnn.errors import InputError
from qnn.losses import LOSSES, MarginLoss
from qnn.networks.activations import Polynomial
from qnn.training.fit import train
from qnn.training.pricing.exact import prove_optimum
from qnn.training.problems.problem import Problem
from qnn.training.rounding.candidate import build, empty
from tests.qnn.bruteforce import exact_optimum, sign_vectors


def random_problem(seed: int, loss: str = "squared", d: int | None = None) -> Problem:
    """Sizes, scales and prices of all kinds; targets that no, few or many neurons explain."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 6)) if d is None else d
    n = int(rng.integers(1, 25))
    X = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-2, 3)
    if rng.random() < 0.3:
        X[:, 0] = 1.0
    if rng.random() < 0.3:
        X = np.round(X)
    hidden = (X @ rng.choice([-1.0, 1.0], d)) * (X @ rng.choice([-1.0, 1.0], d))
    y = hidden + rng.normal(size=n) * rng.choice([0.0, 0.1, 3.0]) * np.abs(hidden).max()
    if issubclass(LOSSES[loss], MarginLoss):
        y = np.where(y > np.median(y), 1.0, -1.0)
    problem = Problem(X, y, beta=1.0, loss=loss)
    largest = problem.beta_max
    return problem.with_beta(max(largest * 10.0 ** rng.uniform(-3, 0.1), 1e-6))


def lasso_bounds(problem: Problem) -> tuple[float, float]:
    """The optimum over every neuron there is, from both sides; no code of the column generation."""
    signs = sign_vectors(problem.d)
    U = np.repeat(signs, signs.shape[1], axis=1)
    V = np.tile(signs, signs.shape[1])
    best = build(problem, np.stack([U, V]), np.zeros(U.shape[1]))
    nu = best.nu
    norm = np.abs(((problem.X @ U) * (problem.X @ V)).T @ nu).max()
    limit = problem.budget / norm if norm > 0 else np.inf
    scale = problem.loss.best_dual_scale(nu, problem.y, limit)
    return problem.loss.dual_value(scale * nu, problem.y), best.objective


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("block", range(4))
def test_the_bounds_enclose_the_enumerated_optimum_and_meet(loss, block):
    for seed in range(60 * block, 60 * (block + 1)):
        problem = random_problem(seed, loss)
        trained = train(problem, seed=seed, certify="exact")
        below, above = lasso_bounds(problem)
        # The enumerated bounds are not rounded safely: they cancel sums of the targets' size.
        noise = 1e-13 * problem.loss.value(np.zeros(problem.n), problem.y)
        assert above - below <= 1e-7 * above + noise
        assert trained.lower_bound <= above + noise, seed
        assert trained.objective >= below - noise, seed
        assert trained.objective - trained.lower_bound <= 1e-6 * above, seed
        assert trained.certificate.lower_bound == trained.lower_bound
        assert verify(trained.certificate, problem.X, problem.y) >= trained.lower_bound


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_it_is_what_cvxpy_says(loss):
    for seed in range(5):
        problem = random_problem(seed, loss, d=4)
        trained = train(problem, seed=seed, certify="exact")
        optimum = exact_optimum(problem)
        # Clarabel's value is that of a point near the optimum: above it by what it left undone.
        zero = problem.loss.value(np.zeros(problem.n), problem.y)
        assert trained.objective == pytest.approx(optimum, rel=1e-6, abs=1e-4 * zero + 1e-8)
        assert trained.objective <= optimum + 1e-8 * (1.0 + zero)


def planted(d=12, n=150, seed=0, beta=2.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    U, V = rng.choice([-1.0, 1.0], (2, d, 4))
    y = ((X @ U) * (X @ V)) @ rng.normal(size=4) + 2.0 * rng.normal(size=n)
    return Problem(X, y, beta)


def test_exact_closes_the_gap_that_the_relaxation_leaves():
    problem = planted()
    relaxed = train(problem)
    reports = []
    exact = train(problem, certify="exact", callback=reports.append)
    assert relaxed.gap > 0.005
    assert exact.gap <= 1e-7
    assert relaxed.lower_bound < exact.lower_bound <= exact.objective <= relaxed.objective + 1e-9
    assert (exact.certificate.kind, exact.certificate.method) == ("exact", "enumeration")
    assert not {"diag", "leaves"} & set(exact.certificate.arrays())
    assert reports[-1].lower_bound == exact.lower_bound
    assert all(report.lower_bound <= exact.objective for report in reports)


def test_a_width_keeps_the_bound_of_all_widths():
    problem = planted()
    free = train(problem, certify="exact")
    narrow = train(problem, certify="exact", width=3)
    assert narrow.network.neurons <= 3 < free.network.neurons
    assert narrow.lower_bound == pytest.approx(free.lower_bound, rel=1e-7)
    assert narrow.gap > free.gap
    assert narrow.statistics["objective_of_any_width"] == pytest.approx(free.objective, rel=1e-7)


def test_it_starts_from_any_network():
    """Without a relaxation: column generation from nothing ends at the same optimum."""
    problem = planted(d=9)
    optimum = prove_optimum(empty(problem), np.random.default_rng(3))
    assert optimum.outcome == "solved"
    assert optimum.gap <= 1e-7
    assert optimum.incumbent.objective == pytest.approx(
        train(problem, certify="exact").objective, rel=2e-7
    )


def test_without_time_the_best_other_bound_stands():
    problem = planted(d=26, n=300)
    trained = train(problem, certify="exact", time_limit=1e-3)
    assert trained.certificate.kind == "relaxation"
    assert trained.lower_bound == trained.certificate.lower_bound <= trained.objective
    many = planted(d=38, n=40)
    trained = train(many.with_beta(0.5 * many.beta_max), certify="exact", time_limit=60.0)
    assert trained.certificate.kind in ("tightened", "exact")
    assert trained.relaxation.lower_bound < trained.lower_bound <= trained.objective
    started = empty(problem)
    stopped = prove_optimum(started, np.random.default_rng(0), deadline=time.monotonic() - 1.0)
    assert stopped.outcome == "time_limit"
    assert stopped.certificate is None
    assert stopped.gap == np.inf


def test_above_the_largest_beta_zero_is_proven_optimal():
    problem = planted(d=6)
    problem = problem.with_beta(problem.beta_max)
    trained = train(problem, certify="exact")
    assert trained.network.neurons == 0
    assert trained.gap <= 1e-7


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"X": np.ones((3, 160))},
            "certify 'exact' goes through all sign vectors, too many for 160 columns: use at most "
            "128, or certify 'tightened'",
        ),
        (
            {"X": np.ones((3, 50)), "activation": Polynomial(1.0, 0.0, 0.0), "alphabet": 3},
            "certify 'exact' goes through all sign vectors, too many for 50 columns of 3 bits: use "
            "at most 42, or certify 'tightened'",
        ),
    ],
)
def test_what_cannot_be_proven_is_refused_first(fields, message):
    arguments = {"X": np.eye(3), "y": np.array([1.0, -1.0, 1.0]), "beta": 0.1} | fields
    with pytest.raises(InputError) as error:
        train(Problem(**arguments), certify="exact")
    assert str(error.value) == message


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "low", "high"), [(30.0, 80.833, 80.845), (5.0, 44.131, 44.1525)])
def test_wdbc_agrees_with_the_first_experiment(beta, low, high):
    data = load_breast_cancer()
    X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    X = np.column_stack([X, np.ones(len(X))])
    problem = Problem(X, 2.0 * data.target - 1.0, beta)
    trained = train(problem, certify="exact", tol=1e-3)
    assert trained.gap <= 1e-7
    assert low <= trained.objective
    assert trained.lower_bound <= high
    assert verify(trained.certificate, problem.X, problem.y) >= trained.lower_bound
    assert "diag" not in trained.certificate.arrays()
