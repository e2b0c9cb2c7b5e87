"""ReLU networks: bounds against mixed-integer optima, the dual against another solver."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from qnn.certificates.robustness.relu import (
    lagrangian,
    least_margin,
    neuron_bounds,
    substituted,
)
from qnn.errors import InputError
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Limits, Prover, certify, largest_radius
from qnn.robustness.duals.arrow import Arrow, Spread
from qnn.robustness.duals.interior_point import Relaxation, solve
from tests.qnn.robustness.cases import layered, milp_margin

EFFORTS = ("interval", "crown", "dual", "exact")


@pytest.mark.parametrize(
    "sizes", [[2, 3, 2], [3, 1, 2], [1, 4, 4, 3], [4, 6, 5, 4, 3], [3, 5, 1, 5, 2], [4, 3]]
)
def test_no_bound_exceeds_the_mixed_integer_optimum(sizes):
    rng = np.random.default_rng(sum(sizes))
    for _ in range(6):
        network = layered(rng, sizes)
        prover, x, radius = Prover(network), rng.normal(size=sizes[0]), rng.uniform(0.05, 1.0)
        label = int(network.predict(x[None])[0])
        truth = milp_margin(network, label, x - radius, x + radius)
        allowance = 1e-7 * (1.0 + abs(truth))
        gap = [
            prover.certify(x, radius, effort=effort, search=Limits(gap=1e-4)) for effort in EFFORTS
        ]
        for found in gap:
            assert found.lower_bound <= truth + allowance
            assert found.upper_bound >= truth - allowance
            assert found.verify(network) == found.lower_bound
        for worse, better in itertools.pairwise(gap):
            assert worse.lower_bound <= better.lower_bound + 1e-6 * (1.0 + abs(truth))
        assert gap[-1].lower_bound == pytest.approx(truth, rel=1e-3, abs=1e-4)
        verdict = prover.certify(x, radius)
        if abs(truth) > 1e-5:
            assert verdict.verdict == ("robust" if truth > 0.0 else "vulnerable")
        verdict.verify(network)
        if verdict.verdict == "vulnerable":
            assert np.all(np.abs(verdict.witness - x) <= radius)
            assert network.predict(verdict.witness[None])[0] != label


@pytest.mark.slow
def test_two_thousand_networks_and_no_bound_exceeds_the_mixed_integer_optimum():
    rng = np.random.default_rng(99)
    for _ in range(2000):
        sizes = [int(rng.integers(1, 5)), *rng.integers(1, 6, size=rng.integers(1, 4)), 3]
        network = layered(rng, [int(size) for size in sizes])
        x, radius = rng.normal(size=sizes[0]), float(10.0 ** rng.uniform(-3, 0.5))
        label = int(network.predict(x[None])[0])
        found = certify(network, x, radius, effort="dual", search=Limits(gap=1e-6))
        truth = milp_margin(network, label, x - radius, x + radius)
        # HiGHS lets constraints be off by 1e-6, so its optimum may lie that much too low.
        assert found.lower_bound <= truth + 5e-6 * (1.0 + abs(truth))
        assert found.lower_bound <= found.upper_bound + 1e-9 * (1.0 + abs(truth))
        found.verify(network)


def systems(seed, sizes=(5, 6, 6, 4, 3), radius=0.5):
    rng = np.random.default_rng(seed)
    network = layered(rng, list(sizes))
    layers = list(zip(network.weights, network.biases, strict=True))
    x = rng.normal(size=sizes[0])
    box = x - radius, x + radius
    bounds = neuron_bounds(layers[:-1], box)
    w, constant = layers[-1][0] @ [1.0, -1.0, 0.0], float(layers[-1][1] @ [1.0, -1.0, 0.0])
    crown = least_margin(layers[:-1], bounds, box, w, constant)
    return substituted(layers[:-1], bounds, box, w, constant), crown


def test_many_inputs_do_not_make_the_interior_point_crawl():
    """74 steps if short ones are not answered; 80, the most, on a trained network of images."""
    rng = np.random.default_rng(1)
    network = layered(rng, [300, 40, 40, 3])
    layers = list(zip(network.weights, network.biases, strict=True))
    x = rng.normal(size=300)
    box = x - 0.1, x + 0.1
    bounds = neuron_bounds(layers[:-1], box)
    w, constant = layers[-1][0] @ [1.0, -1.0, 0.0], float(layers[-1][1] @ [1.0, -1.0, 0.0])
    solved = solve(substituted(layers[:-1], bounds, box, w, constant))
    assert solved.limit - solved.value <= 1e-4 * (1.0 + abs(solved.value))
    assert solved.steps < 30


def dense(one):
    """An arrow, or an arrow's inverse, whole: plain rows, then the core."""
    if isinstance(one, Arrow):
        return np.block([[np.diag(one.diagonal), one.edge], [one.edge.T, one.core]])
    edge = one.G @ one.C
    return np.block([[np.diag(one.rest) + edge @ one.G.T, edge], [edge.T, one.C]])


@pytest.mark.parametrize("quadratic", [False, True])
def test_the_schur_matrix_is_what_its_definition_says(quadratic):
    rng = np.random.default_rng(3)
    network = layered(rng, [5, 6, 4, 3])
    hidden = list(zip(network.weights, network.biases, strict=True))[:-1]
    x = rng.normal(size=5)
    box = x - 0.7, x + 0.7
    either = [(lo < 0.0) & (u > 0.0) for lo, u in neuron_bounds(hidden, box)]
    signs = [np.where(one & (rng.random(len(one)) < 0.5), 1, 0).astype(np.int8) for one in either]
    bounds = neuron_bounds(hidden, box, signs)
    system = substituted(hidden, bounds, box, rng.normal(size=4), 0.1, signs)
    n = len(system.m)
    assert len(system.s0)
    assert len(system.y0)
    if quadratic:
        system = replace(system, H=np.eye(n))
    relaxation = Relaxation(system)
    k, t = relaxation.inputs, relaxation.rows
    assert k == (0 if quadratic else n - len(system.y0))

    def spread():
        L = rng.normal(size=(t, t))
        return Spread(rng.uniform(1.0, 2.0, size=k), rng.normal(size=(k, t)), L @ L.T)

    X, Y = spread(), spread()
    A = [dense(relaxation.Z(e, 0.0)) for e in np.eye(len(relaxation.c))]
    found = relaxation.schur(X, Y)
    XA, YA = ([dense(S) @ a for a in A] for S in (X, Y))
    for i in range(len(A)):
        for j in range(i + 1):
            # The trace of A_i X A_j Y.
            truth = float(np.sum(XA[j].T * YA[i]))
            assert found[i, j] == pytest.approx(truth, rel=1e-9, abs=1e-9 * abs(found).max())


@pytest.mark.parametrize("seed", range(6))
def test_the_dual_is_the_optimum_of_the_moment_relaxation(seed):
    import cvxpy as cp

    system, crown = systems(seed)
    n, h = len(system.m), len(system.y0)
    X = cp.Variable((n + 1, n + 1), PSD=True)
    constraints = [X[0, 0] == 1, cp.diag(X)[1:] <= 1]
    for k, j in enumerate(range(n - h, n)):
        x, y = np.zeros(n + 1), np.concatenate([[system.y0[k]], system.Y[:, k]])
        x[0], x[j + 1] = system.m[j], system.r[j]
        constraints += [x @ X @ (y - x) == 0, X[0] @ x >= 0, X[0] @ (x - y) >= 0]
    problem = cp.Problem(cp.Minimize(system.c + X[0, 1:] @ system.g), constraints)
    problem.solve(solver=cp.CLARABEL)
    solved = solve(system, tol=1e-7)
    assert solved.value == pytest.approx(problem.value, abs=1e-5)
    assert solved.value <= problem.value + 1e-6
    assert solved.value >= crown
    # The checker's form of these multipliers has the same least eigenvalue story: it is a bound.
    form, kappa = lagrangian(system, solved.multipliers)
    P = form.H + np.diag(kappa)
    bound = form.c - 0.5 * kappa.sum() - 0.5 * form.g @ np.linalg.solve(P, form.g)
    assert bound == pytest.approx(solved.value, abs=1e-7)


def test_stable_networks_are_bounded_exactly():
    rng = np.random.default_rng(1)
    bare = layered(rng, [3, 4, 4, 2])
    for shift in (20.0, -20.0):
        network = LayeredNetwork(
            bare.weights, tuple(b + shift if b.size == 4 else b for b in bare.biases)
        )
        x = rng.normal(size=3)
        label = int(network.predict(x[None])[0])
        truth = milp_margin(network, label, x - 0.1, x + 0.1)
        found = certify(network, x, 0.1, effort="crown")
        assert found.lower_bound == pytest.approx(truth, abs=1e-7)
        found.verify(network)


def test_intervals_are_their_formula_and_a_radius_of_zero_is_the_margin():
    network = layered(np.random.default_rng(2), [4, 6, 3])
    x = np.random.default_rng(3).normal(size=4)
    found = certify(network, x, 0.3, effort="interval")
    low, high = x - 0.3, x + 0.3
    W, b = network.weights[0], network.biases[0]
    centre, wide = (low + high) / 2 @ W + b, (high - low) / 2 @ abs(W)
    low, high = np.maximum(centre - wide, 0), np.maximum(centre + wide, 0)
    label = found.certificate.question.label
    margins = []
    for other in set(range(3)) - {label}:
        w = network.weights[1][:, label] - network.weights[1][:, other]
        constant = network.biases[1][label] - network.biases[1][other]
        margins.append((low + high) / 2 @ w - (high - low) / 2 @ abs(w) + constant)
    assert found.lower_bound == pytest.approx(min(margins), abs=1e-9)
    scores = np.sort(network.scores(x[None])[0])
    for norm in ("linf", "l2"):
        still = certify(network, x, 0.0, norm)
        assert still.lower_bound == pytest.approx(scores[-1] - scores[-2], abs=1e-9)


def test_one_score_is_a_sign():
    rng = np.random.default_rng(4)
    network = layered(rng, [3, 6, 1])
    X = rng.normal(size=(20, 3))
    for x, label in zip(X, network.predict(X), strict=True):
        found = certify(network, x, 0.1)
        assert found.certificate.question.label == label
        corners = x + 0.1 * np.array(list(itertools.product((-1, 1), repeat=3)))
        score = network.scores(np.vstack([x, corners]))[:, 0]
        assert found.lower_bound <= (score if label else -score).min() + 1e-12
        found.verify(network)


def test_limits_cut_the_box_and_balls_lie_within_it():
    rng = np.random.default_rng(5)
    network = layered(rng, [4, 8, 3])
    x = rng.uniform(size=4)
    free = certify(network, x, 0.5, search=Limits(gap=1e-3))
    cut = certify(network, x, 0.5, limits=(0.0, 1.0), search=Limits(gap=1e-3))
    ball = certify(network, x, 0.5, "l2", search=Limits(gap=1e-3, nodes=30))
    assert cut.lower_bound >= free.lower_bound
    assert ball.lower_bound >= free.lower_bound * (1 - 1e-3) - 1e-3
    assert ball.upper_bound >= free.upper_bound - 1e-9
    moved = rng.normal(size=(2000, 4))
    moved *= 0.5 / np.linalg.norm(moved, axis=1, keepdims=True)
    scores = network.scores(x + moved)
    label = ball.certificate.question.label
    assert ball.lower_bound <= (scores[:, label] - np.delete(scores, label, 1).max(axis=1)).min()


def test_a_radius_and_its_proof():
    network = layered(np.random.default_rng(6), [3, 6, 6, 3])
    x = np.random.default_rng(7).normal(size=3)
    radius = largest_radius(network, x, tol=1e-3)
    assert 0.0 < radius.certified < radius.attacked <= radius.certified * 1.002
    radius.proof.verify(network)


def test_a_node_limit_leaves_the_verdict_open_and_the_proof_valid():
    rng = np.random.default_rng(8)
    network = layered(rng, [6, 20, 20, 3])
    x = rng.normal(size=6)
    found = certify(network, x, 0.6, search=Limits(nodes=4, gap=1e-6))
    assert found.lower_bound < found.upper_bound
    found.verify(network)


def test_a_network_does_not_take_what_it_cannot():
    network = layered(np.random.default_rng(9), [3, 4, 2])
    with pytest.raises(InputError, match="3 finite numbers"):
        certify(network, [1.0, 2.0], 0.1)
    with pytest.raises(InputError, match="none of the 2 outputs"):
        certify(network, np.zeros(3), 0.1, label=2)
    with pytest.raises(InputError, match="region is not finite"):
        certify(network, np.zeros(3), np.inf)


def test_a_node_without_inputs_is_left_once_its_bound_exceeds_every_margin():
    rng = np.random.default_rng(3)
    network = layered(rng, [3, 6, 6, 3])
    found = certify(network, rng.normal(size=3), 0.7, search=Limits(gap=1e-4))
    assert np.abs(found.certificate.multipliers).max() < 1e9
