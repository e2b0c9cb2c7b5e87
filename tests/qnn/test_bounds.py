"""Lower bound ≤ enumerated optimum ≤ objective, over random small problems of every kind."""

import numpy as np
import pytest

from qnn.certificates.checker import verify
from qnn.losses import LOSSES, MarginLoss, get_loss
from qnn.networks.activations import Polynomial
from qnn.training.fit import train
from qnn.training.problems.levels import facts_of, refusal
from qnn.training.problems.problem import Problem
from qnn.training.rounding.refit.second_layer import refit
from tests.qnn.bruteforce import all_neurons

SIGMAS = {
    "relu": Polynomial(0.0937, 0.5, 0.4688),
    "square": Polynomial(1.0, 0.0, 0.0),
    "concave": Polynomial(-0.3, 0.5, 0.1),
    "even": Polynomial(0.5, 0.0, -1.0),
}
KINDS = [
    *(("bilinear", alphabet) for alphabet in ("binary", "ternary", 2)),
    *(("polynomial", alphabet) for alphabet in ("binary", "ternary", 2)),
    *((sigma, "binary") for sigma in SIGMAS),
]


def random_problem(seed: int, loss_name: str, activation: str, alphabet: str | int) -> Problem:
    """Few rows and columns; scales, prices, polynomials and targets of all kinds."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 5 if alphabet == "binary" else 4))
    n = int(rng.integers(2, 16))
    X = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-1, 2)
    if rng.random() < 0.3:
        X[:, -1] = 1.0
    if rng.random() < 0.3:
        X = np.round(X)
    y = (X @ rng.choice([-1.0, 1.0], d)) * rng.choice([1.0, 0.1]) + rng.normal(size=n)
    if issubclass(LOSSES[loss_name], MarginLoss):
        y = np.where(y > np.median(y), 1.0, -1.0)
    loss = get_loss(loss_name, 10.0 ** rng.uniform(-1, 1) if loss_name == "huber" else None)
    function: str | Polynomial = "bilinear"
    if activation == "polynomial":
        function = Polynomial(*(rng.normal(size=3) * (rng.random(3) < 0.8) + [0.0, 0.0, 1e-3]))
    elif activation in SIGMAS:
        function = SIGMAS[activation]
    problem = Problem(X, y, 1.0, loss, function, alphabet)
    return problem.with_beta(max(problem.beta_max * 10.0 ** rng.uniform(-2, 0.05), 1e-6))


def check(problem: Problem, seed: int, certify: str) -> None:
    trained = train(problem, seed=seed, certify=certify)
    # The optimum over every neuron there is, from both sides.
    layer = refit(problem.loss, all_neurons(problem), problem.y, problem.budget)
    # Sums of the size of the targets cancel.
    noise = 1e-10 * layer.objective + 1e-12 * problem.loss.value(np.zeros(problem.n), problem.y)
    below, above = layer.objective * (1.0 - layer.gap) - noise, layer.objective + noise
    assert layer.gap <= 1e-5
    assert trained.lower_bound <= above
    assert trained.objective >= below
    assert verify(trained.certificate, problem.X, problem.y) >= trained.lower_bound
    assert trained.objective == pytest.approx(problem.objective(trained.network), rel=1e-9)
    assert trained.objective <= above * (1.0 + 1e-2)
    if certify == "exact":
        assert trained.objective - trained.lower_bound <= 1e-6 * above + noise


def run(count: int, loss: str, activation: str, alphabet: str | int) -> None:
    for seed in range(count):
        problem = random_problem(seed, loss, activation, alphabet)
        level = ("exact", "relaxation", "exact", "tightened")[seed % 4]
        if refusal(level, facts_of(problem)) is not None:
            level = "relaxation"
        check(problem, seed, level)


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize(("activation", "alphabet"), KINDS)
def test_bounds_enclose_the_enumerated_optimum(loss, activation, alphabet):
    run(6, loss, activation, alphabet)


@pytest.mark.slow
@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize(("activation", "alphabet"), KINDS)
def test_bounds_enclose_thousands_of_enumerated_optima(loss, activation, alphabet):
    run(120, loss, activation, alphabet)
