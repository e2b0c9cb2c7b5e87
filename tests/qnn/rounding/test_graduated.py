import time

import numpy as np
import pytest

from qnn.activations import Polynomial
from qnn.losses import get_loss
from qnn.problem import Problem
from qnn.rounding.graduated import STEPS, descend, graduate, narrow
from qnn.rounding.incumbent import build, empty
from qnn.rounding.refit import refit
from tests.qnn.bruteforce import sign_vectors

RELU = Polynomial(0.0937, 0.5, 0.4688)


def data(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.sign(X[:, 0] * X[:, 1] + 0.3 * rng.standard_normal(n))


def best_single_neuron(problem):
    """The optimum over networks of one neuron: every pair of signs, refitted alone."""
    products = problem.X @ sign_vectors(problem.d)
    H = (products[:, :, None] * products[:, None, :]).reshape(problem.n, -1)
    return min(refit(problem.loss, h[:, None], problem.y, problem.budget).objective for h in H.T)


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_a_single_neuron_is_the_best_of_all(loss):
    problem = Problem(*data(n=25, d=3), beta=0.2, loss=get_loss(loss))
    W = np.ones((2, 3, 1))
    start = build(problem, W, np.zeros(1))
    found = graduate(start, 1, np.random.default_rng(1))
    assert found.width == 1
    assert found.objective == pytest.approx(best_single_neuron(problem), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        ({}, 0.95),
        ({"alphabet": 2}, 0.95),
        # A polynomial's own curvature is not in the concave term.
        ({"activation": RELU}, 0.7),
        ({"activation": RELU, "alphabet": "ternary"}, 0.7),
    ],
    ids=["bilinear", "two bits", "polynomial", "polynomial, ternary"],
)
def test_a_run_ends_near_the_signs_it_is_rounded_to(kind, share, monkeypatch):
    """The concave term drives the bits to ±1 before they are rounded."""
    problem = Problem(*data(), beta=0.1, **kind)
    seen = []
    monkeypatch.setattr("qnn.rounding.graduated.signs", lambda W: seen.append(W) or np.sign(W))
    W = descend(problem, 3, np.random.default_rng(0))
    assert W.shape == (problem.atoms.parts, problem.atoms.size, 3)
    assert np.mean(np.abs(seen[0]) > 0.99) > share
    network = build(problem, W, np.zeros(3))
    assert network.objective < 0.9 * empty(problem).objective


def test_a_narrow_network_is_never_worse_than_the_start_and_a_wide_one_is_kept():
    problem = Problem(*data(), beta=0.1)
    rng = np.random.default_rng(0)
    wide = build(
        problem, problem.atoms.from_signs(*rng.choice([-1.0, 1.0], (2, 5, 20))), np.ones(20)
    )
    assert narrow(wide, wide.width, rng) is wide
    narrowed = narrow(wide, 3, rng)
    assert narrowed.width <= 3
    start = build(problem, wide.W[:, :, :3], np.zeros(3))
    assert graduate(start, 3, rng).objective <= start.objective
    assert graduate(start, 4, rng) is start


def test_a_deadline_that_has_passed_leaves_what_was_there():
    problem = Problem(*data(), beta=0.1)
    rng = np.random.default_rng(0)
    start = build(problem, rng.choice([-1.0, 1.0], (2, 5, 2)), np.zeros(2))
    assert STEPS > 1
    assert descend(problem, 2, rng, time.monotonic() - 1.0) is None
    assert graduate(start, start.width, rng, deadline=time.monotonic() - 1.0) is start
