import time

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from qnn.errors import InputError
from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.rounding import METHODS, column_generation, round_relaxation

# Proven interval of the optimum over all widths (column generation with exact pricing).
WDBC_OPTIMUM = (80.833, 80.845)


@pytest.fixture(scope="module")
def wdbc():
    X, labels = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    X = np.column_stack([X, np.ones(len(X))])
    return solve(Problem(X, 2.0 * labels - 1.0, beta=30.0))


def small_relaxation(beta=0.3):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 6))
    return solve(Problem(X, np.sign(rng.standard_normal(50)), beta=beta))


@pytest.mark.parametrize(("width", "excess"), [(128, 1e-4), (32, 2e-3), (8, 0.12)])
def test_refined_rounding_on_wdbc(wdbc, width, excess):
    network = round_relaxation(wdbc, width, np.random.default_rng(0), "refined")
    objective = wdbc.problem.objective(network)
    assert network.neurons <= width
    assert WDBC_OPTIMUM[0] <= objective <= WDBC_OPTIMUM[1] * (1 + excess)


def test_column_generation_on_wdbc_meets_the_proven_interval(wdbc):
    incumbent, statistics = column_generation(wdbc, np.random.default_rng(1))
    assert statistics["violation"] <= 1e-4
    assert WDBC_OPTIMUM[0] <= incumbent.objective <= WDBC_OPTIMUM[1] + 1e-3


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_generator_decides_the_network(method):
    relaxation = small_relaxation()
    first, again, other = (
        round_relaxation(relaxation, 5, np.random.default_rng(seed), method).to_bytes()
        for seed in (1, 1, 2)
    )
    assert first == again
    assert method != "krivine" or other != first


def test_refined_is_better_than_krivine_and_no_better_than_the_bound():
    relaxation = small_relaxation()
    objective = relaxation.problem.objective
    for width in (1, 4, 16):
        krivine, refined = (
            round_relaxation(relaxation, width, np.random.default_rng(width), method)
            for method in ("krivine", "refined")
        )
        assert krivine.neurons == width
        assert refined.neurons <= width
        assert relaxation.lower_bound <= objective(refined) <= objective(krivine)


def test_graduated_rounding_helps_where_the_width_binds_and_changes_nothing_where_not():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 9))
    f = ((X @ rng.choice([-1.0, 1.0], (9, 8))) * (X @ rng.choice([-1.0, 1.0], (9, 8)))).sum(axis=1)
    relaxation = solve(Problem(X, f / f.std(), beta=0.2))
    objective = relaxation.problem.objective
    gains = []
    for width in (2, 4, 200):
        refined, graduated = (
            round_relaxation(relaxation, width, np.random.default_rng(width), method)
            for method in ("refined", "graduated")
        )
        assert graduated.neurons <= width
        assert relaxation.lower_bound <= objective(graduated) <= objective(refined)
        gains.append(objective(refined) / objective(graduated))
    assert max(gains[:2]) > 1.02
    assert gains[2] == 1.0


def test_a_relaxation_at_zero_rounds_to_the_zero_network():
    problem = small_relaxation().problem
    relaxation = solve(problem.with_beta(2.0 * problem.beta_max))
    for method in METHODS:
        assert round_relaxation(relaxation, 4, np.random.default_rng(0), method).neurons == 0


def test_the_result_carries_its_problem():
    network = round_relaxation(small_relaxation(), 3, np.random.default_rng(0))
    assert (network.beta, network.loss) == (0.3, "squared")


@pytest.mark.parametrize(
    ("method", "width", "fields", "message"),
    [
        (
            "magic",
            3,
            {},
            "rounding 'magic' is not known: choose one of krivine, refined, graduated",
        ),
        ("krivine", 0, {}, "width must be a whole number of neurons, 1 or more (got 0)"),
        ("krivine", 2.5, {}, "width must be a whole number of neurons, 1 or more (got 2.5)"),
        (
            "krivine",
            3,
            {"activation": Polynomial(1.0, 0.0, 0.0)},
            "rounding 'krivine' needs the bilinear activation (got 'polynomial'): use rounding "
            "refined",
        ),
        (
            "krivine",
            3,
            {"alphabet": "ternary"},
            "rounding 'krivine' makes binary weights (got alphabet 'ternary'): use alphabet "
            "binary, or rounding refined",
        ),
    ],
)
def test_what_cannot_be_rounded_is_refused(method, width, fields, message):
    from qnn.training.rounding import check_rounding

    problem = Problem(np.eye(3), np.array([1.0, -1.0, 1.0]), beta=1.0, **fields)
    with pytest.raises(InputError) as caught:
        check_rounding(problem, width, method)
    assert str(caught.value) == message


def test_a_hundred_thousand_neurons_take_seconds_at_most():
    from qnn.training.rounding.krivine import KrivineSampler

    rng = np.random.default_rng(0)
    F = rng.standard_normal((100, 100))
    F /= np.linalg.norm(F, axis=1)[:, None]
    began = time.process_time()
    sampler = KrivineSampler.from_relaxation(0.5 * F @ F.T, 0.5 * np.eye(100), 1.0)
    U, _ = sampler.sample(100_000, rng)
    # 0.5 s alone on one core; the rest is for a loaded machine.
    assert time.process_time() - began < 6.0
    assert U.shape == (100, 100_000)
