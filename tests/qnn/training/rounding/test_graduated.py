import time

import numpy as np
import pytest

from qnn.losses import get_loss
from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.rounding.candidate import build, empty
from qnn.training.rounding.graduated import (
    KEPT,
    SCHEDULES,
    graduate,
    graduated_signs,
    narrow,
    start,
)
from qnn.training.rounding.local_search import improve
from qnn.training.rounding.refined import column_generation
from qnn.training.rounding.refit.second_layer import refit
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
    found = graduate(build(problem, W, np.zeros(1)), 1, np.random.default_rng(1))
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
    monkeypatch.setattr(
        "qnn.training.rounding.graduated.signs", lambda W: seen.append(W) or np.sign(W)
    )
    W = graduated_signs(problem, *start(problem, 3, np.random.default_rng(0)), SCHEDULES[0])
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
    assert narrow(wide, wide.width, rng).objective <= wide.objective
    narrowed = narrow(wide, 3, rng)
    assert narrowed.width <= 3
    begun = build(problem, wide.W[:, :, :3], np.zeros(3))
    assert graduate(begun, 3, rng).objective <= begun.objective


def test_where_the_width_leaves_room_nothing_descends(monkeypatch):
    problem = Problem(*data(), beta=0.1)
    calls = []
    monkeypatch.setattr(
        "qnn.training.rounding.graduated.graduate", lambda best, *_: calls.append(best)
    )
    wide, _ = column_generation(solve(problem), np.random.default_rng(0))
    assert narrow(wide, wide.width + 1, np.random.default_rng(0)).objective <= wide.objective
    assert narrow(wide, wide.width - 1, np.random.default_rng(0)).width < wide.width
    assert not calls
    assert narrow(wide, 2, np.random.default_rng(0)) is None
    assert calls[0].objective > 1.001 * wide.objective


def test_a_deadline_that_has_passed_leaves_what_was_there():
    problem = Problem(*data(), beta=0.1)
    rng = np.random.default_rng(0)
    begun = build(problem, rng.choice([-1.0, 1.0], (2, 5, 2)), np.zeros(2))
    past = time.monotonic() - 1.0
    assert graduated_signs(problem, *start(problem, 2, rng), SCHEDULES[0], past) is None
    assert graduate(begun, begun.width, rng, deadline=past) is begun


def test_a_later_start_lies_near_the_best_network():
    problem = Problem(*data(), beta=0.1)
    rng = np.random.default_rng(0)
    near = build(problem, rng.choice([-1.0, 1.0], (2, 5, 2)), np.zeros(2))
    W, alpha = start(problem, 3, rng, near)
    assert np.array_equal(alpha[:2], near.alpha)
    assert np.all(near.W * W[:, :, :2] >= KEPT - (1.0 - KEPT))
    assert np.mean(near.W * W[:, :, :2]) > 0.2
    assert np.abs(W).max() <= 1.0


def test_first_descents_start_at_random_bits_and_later_ones_near_the_best_so_far(monkeypatch):
    problem = Problem(*data(n=120, d=9, seed=3), beta=0.05)
    begun = build(problem, np.random.default_rng(1).choice([-1.0, 1.0], (2, 9, 4)), np.zeros(4))
    starts, reached = [], []

    def recorded_start(problem, width, rng, near=None):
        starts.append((near, min(reached, default=begun.objective)))
        return start(problem, width, rng, near)

    def recorded_improve(*arguments, **named):
        found = improve(*arguments, **named)
        reached.append(found.objective)
        return found

    monkeypatch.setattr("qnn.training.rounding.graduated.start", recorded_start)
    monkeypatch.setattr("qnn.training.rounding.graduated.improve", recorded_improve)
    best = graduate(begun, 4, np.random.default_rng(2))
    assert [near is None for near, _ in starts] == [True] * 2 + [False] * 6
    assert all(near.objective == lowest for near, lowest in starts[2:])
    assert best.objective == min(reached) < begun.objective
