"""Common scalars and grids against brute force, and what they cost."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from qnn.errors import InputError
from qnn.losses import get_loss
from qnn.networks.activations import Polynomial
from qnn.networks.second_layers import largest_step
from qnn.training.fit import train
from qnn.training.problems.problem import Problem
from qnn.training.rounding.candidate import build
from qnn.training.rounding.grids import _Search, on_grid


def small(seed, m=4, activation="bilinear", loss="squared", beta=0.1):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((25, 4)), rng.standard_normal(25)
    if loss == "logistic":
        y = np.sign(y)
    problem = Problem(
        X, 2.0 * y if loss == "squared" else y, beta, loss=loss, activation=activation
    )
    atoms = problem.atoms
    W = rng.choice([-1.0, 1.0], size=(atoms.parts, atoms.size, m))
    return problem, build(problem, W, np.zeros(m))


def brute_force(problem, H, steps):
    """The best objective over one scale and all combinations of steps."""
    best = problem.loss.value(np.zeros(problem.n), problem.y)
    for k in product(steps, repeat=H.shape[1]):
        h, size = H @ np.array(k), np.abs(k).sum()

        def objective(s, h=h, size=size):
            return problem.loss.value(s * h, problem.y) + problem.budget * s * size

        best = min(best, minimize_scalar(objective, bounds=(0.0, 3.0), method="bounded").fun)
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("second_layer", [2, 3])
@pytest.mark.parametrize(("loss", "beta"), [("squared", 0.1), ("squared", 2.0), ("logistic", 0.5)])
def test_a_grid_is_near_the_best_there_is(second_layer, seed, loss, beta):
    problem, incumbent = small(seed, loss=loss, beta=beta)
    W, alpha = on_grid(problem, incumbent.W, incumbent.alpha, second_layer, None)
    largest = largest_step(second_layer)
    steps = range(-largest, largest + 1)
    H = problem.atoms.features(incumbent.W)
    best = brute_force(problem, H, steps)
    objective = problem.loss.value(problem.atoms.features(W) @ alpha, problem.y)
    objective += problem.budget * np.abs(alpha).sum()
    assert incumbent.objective - 1e-9 <= objective
    assert best - 1e-6 * best <= objective <= 1.01 * best


@pytest.mark.parametrize("activation", ["bilinear", Polynomial(0.1, 0.5, 0.4)])
def test_a_common_scalar_repeats_neurons_up_to_the_width(activation):
    problem, incumbent = small(1, activation=activation)
    objectives = []
    for width in (1, 4, 12):
        W, alpha = on_grid(problem, incumbent.W, incumbent.alpha, "common", width)
        assert 0 < len(alpha) <= width
        assert len(np.unique(np.abs(alpha))) == 1
        value = problem.loss.value(problem.atoms.features(W) @ alpha, problem.y)
        objectives.append(value + problem.budget * np.abs(alpha).sum())
    assert objectives[0] >= objectives[1] >= objectives[2] >= incumbent.objective
    assert objectives[2] <= 1.03 * incumbent.objective


def test_a_neuron_that_does_not_pay_its_price_stays_out():
    # Orthogonal features: y = (3, 1.2), price 1. Free: α = (2, 0.2); one scalar: (2, 0), since
    # (s, s) has s = 1.1 and costs 0.5 (1.9² + 0.1²) + 2.2 = 4.01, and (2, 0) 0.5 (1 + 1.44) + 2.
    search = _Search(get_loss("squared"), np.eye(2), np.array([3.0, 1.2]), 1.0, 1, None)
    steps, scale = search.best(np.array([2.0, 0.2]))
    assert steps.tolist() == [1.0, 0.0]
    assert scale == pytest.approx(2.0)
    assert search._value(np.array([2.0, 0.0]), 2.0) == pytest.approx(3.22)


def test_more_bits_lose_less_and_every_grid_stays_above_the_bound():
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((80, 8)), np.sign(rng.standard_normal(80))
    problem = Problem(X, y, beta=0.2)
    free = train(problem, width=10)
    gaps, sizes = {}, {}
    for second_layer in ("common", 2, 3, 4, 6, 8):
        trained = train(problem, width=10, second_layer=second_layer)
        network = trained.network
        assert network.second_layer == str(second_layer)
        assert network.neurons <= 10
        assert trained.lower_bound == free.lower_bound
        assert trained.objective == pytest.approx(problem.objective(network), rel=1e-12)
        assert trained.objective >= free.objective * (1 - 1e-9)
        gaps[second_layer], sizes[second_layer] = trained.gap, network.size_in_bytes
    assert free.gap <= gaps[8] <= gaps[4] <= gaps[2]
    assert gaps[8] <= free.gap + 1e-3
    assert sizes["common"] <= sizes[4] < free.network.size_in_bytes


def test_what_is_no_second_layer_is_refused():
    problem, _ = small(0)
    for bad in ("half", 1, 9, True, 2.5):
        with pytest.raises(InputError) as error:
            train(problem, second_layer=bad)
        assert str(error.value) == (
            f"second_layer {bad!r} is not known: choose float, common or 2 to 8 bits"
        )
