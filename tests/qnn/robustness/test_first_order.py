"""The first-order dual: never beyond mixed-integer optima, on sparse layers and balls too."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from qnn.certificates.robustness.question import LAYERED_DUAL, LAYERED_LINEAR
from qnn.certificates.robustness.regions import Region
from qnn.errors import InputError
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Limits, Prover, certify, means
from qnn.robustness.duals import first_order
from tests.qnn.robustness.cases import layered, milp_margin

FIRST = Limits(nodes=1, gap=1e-6, solver="first_order")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(means, "STEPS", 30)


def thin(network):
    """The same network with every layer a sparse array."""
    return LayeredNetwork(tuple(map(sparse.csc_array, network.weights)), network.biases)


@pytest.mark.parametrize("sizes", [[2, 3, 2], [3, 1, 2], [1, 4, 4, 3], [3, 5, 1, 5, 2], [4, 3]])
def test_no_bound_exceeds_the_mixed_integer_optimum(sizes):
    rng = np.random.default_rng(sum(sizes))
    for _ in range(2):
        network = layered(rng, sizes)
        x, radius = rng.normal(size=sizes[0]), rng.uniform(0.05, 1.0)
        label = int(network.predict(x[None])[0])
        truth = milp_margin(network, label, x - radius, x + radius)
        crown = certify(network, x, radius, effort="crown", search=FIRST)
        for tried in (network, thin(network)):
            found = certify(tried, x, radius, effort="dual", search=FIRST)
            assert crown.lower_bound - 1e-9 <= found.lower_bound <= truth + 5e-6 * (1 + abs(truth))
            assert found.upper_bound >= truth - 5e-6 * (1.0 + abs(truth))
            assert found.verify(tried) == found.lower_bound
            assert set(found.certificate.splits) <= {LAYERED_DUAL, LAYERED_LINEAR}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_two_thousand_networks_and_no_bound_exceeds_the_mixed_integer_optimum(part, monkeypatch):
    monkeypatch.setattr(means, "STEPS", 2)
    monkeypatch.setattr(first_order, "_LINE_STEPS", 4)
    monkeypatch.setattr(first_order, "_INSIDE", (1e-3, 1e-1))
    rng = np.random.default_rng(98 + part)
    for case in range(500):
        sizes = [int(rng.integers(1, 5)), *rng.integers(1, 6, size=rng.integers(1, 4)), 2]
        network = layered(rng, [int(size) for size in sizes])
        network = thin(network) if case % 2 else network
        x, radius = rng.normal(size=sizes[0]), float(10.0 ** rng.uniform(-3, 0.5))
        label = int(network.predict(x[None])[0])
        box = certify(network, x, radius, effort="dual", search=FIRST)
        dense = LayeredNetwork(tuple(np.asarray(W.todense()) if sparse.issparse(W) else W
                                     for W in network.weights), network.biases)  # fmt: skip
        truth = milp_margin(dense, label, x - radius, x + radius)
        assert box.lower_bound <= truth + 5e-6 * (1.0 + abs(truth))
        ball = certify(network, x, radius, "l2", effort="dual", search=FIRST)
        Z = rng.normal(size=(200, sizes[0]))
        Z *= radius / np.linalg.norm(Z, axis=1, keepdims=True)
        scores = network.scores(np.vstack([x + Z, ball.certificate.question.numbers]))
        assert ball.lower_bound <= (scores[:, label] - scores[:, 1 - label]).min() + 1e-12
        assert ball.lower_bound <= ball.upper_bound + 1e-9 * (1.0 + abs(truth))
        if sizes[0] == 1:
            assert ball.lower_bound <= truth + 5e-6 * (1.0 + abs(truth))


def test_a_ball_is_exact_where_no_neuron_bends_and_better_than_its_box():
    rng = np.random.default_rng(1)
    affine = layered(rng, [5, 2])
    x = rng.normal(size=5)
    label = int(affine.predict(x[None])[0])
    w = affine.weights[0][:, label] - affine.weights[0][:, 1 - label]
    for effort in ("crown", "dual"):
        found = certify(affine, x, 0.1, "l2", effort=effort)
        score = affine.scores(x[None])[0]
        exact = score[label] - score[1 - label] - 0.1 * np.linalg.norm(w)
        assert found.lower_bound == pytest.approx(exact, abs=1e-9)
        assert found.upper_bound == pytest.approx(exact, abs=1e-4)
    network = layered(rng, [8, 10, 8, 3])
    x = rng.normal(size=8)
    box, ball = (
        certify(network, x, 0.2, norm, effort="crown", search=FIRST) for norm in ("linf", "l2")
    )
    assert ball.lower_bound > box.lower_bound + 0.1
    better = certify(network, x, 0.2, "l2", effort="dual", search=FIRST)
    assert ball.lower_bound <= better.lower_bound <= better.upper_bound
    assert better.verify(network) == better.lower_bound


def test_a_ball_in_two_dimensions_is_bounded_by_what_a_grid_finds():
    rng = np.random.default_rng(2)
    angle, length = np.meshgrid(np.linspace(0, 2 * np.pi, 400), np.linspace(0, 1, 40))
    Z = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1).reshape(-1, 2)
    axes = np.array([0.7, 0.2])
    for _ in range(4):
        network = layered(rng, [2, 6, 5, 2])
        x = rng.normal(size=2)
        label = int(network.predict(x[None])[0])
        scores = network.scores(x + axes * Z)
        truth = (scores[:, label] - scores[:, 1 - label]).min()
        found = certify(network, x, axes, "l2", search=Limits(nodes=40))
        assert found.lower_bound <= truth
        if abs(truth) > 0.01:
            assert found.verdict == ("robust" if truth > 0.0 else "vulnerable")
        found.verify(network)


def test_branching_decides_what_the_first_bound_leaves_open(monkeypatch):
    monkeypatch.setattr(means, "STEPS", 100)
    rng = np.random.default_rng(5)
    network, decided = thin(layered(rng, [4, 8, 6, 3])), 0
    for _ in range(3):
        x = rng.normal(size=4)
        root = certify(network, x, 0.5, effort="crown")
        found = certify(network, x, 0.5, search=Limits(nodes=50))
        decided += root.verdict == "open" and found.verdict != "open"
        assert found.verify(network) == found.lower_bound
    assert decided


def test_solvers_have_names_and_limits():
    network = layered(np.random.default_rng(3), [3, 4, 2])
    with pytest.raises(InputError, match="solver must be one of auto, second_order, first_order"):
        certify(network, np.zeros(3), 0.1, search=Limits(solver="lanczos"))
    with pytest.raises(InputError, match="sparse"):
        certify(thin(network), np.zeros(3), 0.1, search=Limits(solver="second_order"))
    small = means.means_of(network, region(3), "auto")
    wide = LayeredNetwork((np.ones((3, 5000)), np.ones((5000, 2))), (np.ones(5000), np.ones(2)))
    assert isinstance(small, means.SecondOrder)
    for large in (wide, thin(network)):
        assert isinstance(means.means_of(large, region(3), "auto"), means.FirstOrder)


def region(d):
    return Region(np.zeros((1, d)), np.ones((1, d)), np.zeros(d), np.full(d, -1))


def test_a_box_inside_a_larger_one_is_bounded_as_well():
    rng = np.random.default_rng(4)
    prover = Prover(thin(layered(rng, [4, 9, 7, 3])))
    x = rng.normal(size=4)
    values = [prover.certify(x, r, effort="crown").lower_bound for r in (0.0, 0.05, 0.1, 0.3)]
    assert all(before >= after for before, after in itertools.pairwise(values))
    scores = np.sort(prover.network.scores(x[None])[0])
    assert values[0] == pytest.approx(scores[-1] - scores[-2], abs=1e-9)
