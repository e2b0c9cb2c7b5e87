import numpy as np
import pytest
from scipy.optimize import minimize

from qnn.certificates.checker import verify
from qnn.errors import InputError
from qnn.losses import LOSSES
from qnn.training.fit import train
from qnn.training.problems.problem import Problem
from qnn.training.rounding.refit.second_layer import refit
from tests.qnn.bruteforce import all_neurons, exact_optimum


def make_problem(n=40, d=5, beta=0.8, seed=0, **fields):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.sign(rng.standard_normal(n))
    return Problem(X, y, beta=beta, **fields)


def brute_force_optimum(problem):
    """The optimum over all widths: a Lasso over every atom."""
    layer = refit(problem.loss, all_neurons(problem), problem.y, problem.budget)
    assert layer.gap < 1e-9
    return layer.objective


@pytest.mark.parametrize("seed", range(6))
def test_training_finds_the_enumerated_optimum_and_bounds_it(seed):
    problem = make_problem(beta=0.3 + 0.2 * seed, seed=seed)
    trained = train(problem, seed=seed)
    optimum = brute_force_optimum(problem)
    assert trained.lower_bound <= optimum
    assert trained.objective == pytest.approx(optimum, rel=2e-4)
    assert trained.objective >= optimum * (1 - 1e-9)
    assert trained.objective == pytest.approx(problem.objective(trained.network), rel=1e-12)
    assert trained.gap == pytest.approx(1 - trained.lower_bound / trained.objective)
    bound = verify(trained.certificate, problem.X, problem.y)
    assert bound == pytest.approx(trained.lower_bound)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_training_finds_the_enumerated_optimum_for_every_loss(loss):
    problem = make_problem(d=4, beta=1.0, seed=3, loss=loss)
    problem = problem.with_beta(0.15 * problem.beta_max)
    trained = train(problem, seed=0)
    optimum = exact_optimum(problem)
    assert trained.lower_bound <= optimum * (1 + 1e-9)
    assert trained.objective == pytest.approx(optimum, rel=2e-4)
    assert trained.objective >= optimum * (1 - 1e-7)
    assert verify(trained.certificate, problem.X, problem.y) >= trained.lower_bound


def test_a_width_is_a_limit():
    problem = make_problem(n=80, d=8, beta=0.2)
    free = train(problem)
    narrow = train(problem, width=3)
    assert narrow.network.neurons <= 3 < free.network.neurons
    assert narrow.objective > free.objective > free.lower_bound


def test_two_neurons_against_brute_force():
    problem = make_problem(n=25, d=3, beta=0.5, seed=3)
    H = all_neurons(problem)
    best = min(
        refit(problem.loss, H[:, [i, j]], problem.y, problem.budget).objective
        for i in range(H.shape[1])
        for j in range(i)
    )
    found = train(problem, width=2).objective
    assert best * (1 - 1e-9) <= found <= best * 1.02


def test_the_seed_decides_the_network():
    problem = make_problem(n=80, d=8, beta=0.2)
    first, again, other = (train(problem, seed=s, width=6) for s in (1, 1, 2))
    assert first.network.to_bytes() == again.network.to_bytes()
    from_generator = train(problem, seed=np.random.default_rng(1), width=6)
    assert from_generator.network.to_bytes() == first.network.to_bytes()
    assert other.lower_bound == first.lower_bound


def test_a_beta_at_its_maximum_gives_the_zero_network():
    problem = make_problem()
    problem = problem.with_beta(1.001 * problem.beta_max)
    trained = train(problem)
    assert trained.network.neurons == 0
    assert trained.objective == 0.5 * problem.y @ problem.y
    assert trained.gap < 1e-4


def test_a_time_limit_still_gives_a_network_and_a_valid_bound():
    problem = make_problem(n=300, d=20, beta=0.5)
    trained = train(problem, time_limit=0.05)
    assert trained.lower_bound <= trained.objective
    assert trained.network.neurons > 0


def test_the_second_layer_is_optimal():
    problem = make_problem(n=30, d=4, beta=0.4, seed=9)
    network = train(problem, width=4).network
    H = (problem.X @ network.U) * (problem.X @ network.V)

    def objective(alpha):
        residual = H @ alpha - problem.y
        return 0.5 * residual @ residual + problem.budget * np.abs(alpha).sum()

    found = minimize(objective, network.alpha, method="Nelder-Mead", options={"maxiter": 2000})
    assert found.fun >= objective(network.alpha) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("arguments", "fields", "message"),
    [
        (
            {"certify": "hope"},
            {},
            "certify 'hope' is not known: choose one of relaxation, tightened, exact",
        ),
        (
            {"width": 0},
            {},
            "width must be a whole number of neurons, 1 or more (got 0)",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments, fields, message):
    with pytest.raises(InputError) as caught:
        train(make_problem(**fields), **arguments)
    assert str(caught.value) == message


def test_the_refined_rounding_is_no_worse_than_the_zero_network_and_an_unknown_one_is_refused():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 5))
    problem = Problem(X, np.sign(X[:, 0] * X[:, 1] + X[:, 2]), beta=0.3)
    quick = train(problem, width=3, rounding="refined")
    full = train(problem, width=3)
    assert quick.network.neurons <= 3
    assert full.lower_bound == quick.lower_bound <= full.objective <= quick.objective * (1 + 1e-9)
    assert quick.objective < problem.loss.value(np.zeros(40), problem.y)
    with pytest.raises(InputError, match="rounding 'krivine' is not known: choose one of gradu"):
        train(problem, width=3, rounding="krivine")
