"""Polarization is exact: the same predictions from ternary weights."""

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.fit import train
from qnn.training.problems.problem import Problem


@pytest.mark.parametrize("outputs", [(), (3,)])
def test_predictions_agree_to_the_rounding_of_sums(outputs):
    rng = np.random.default_rng(0)
    d, m = 9, 7
    U, V = rng.choice([-1, 1], size=(2, d, m))
    alpha = rng.standard_normal((m, *outputs))
    binary = QuantizedNetwork(U, V, alpha)
    ternary = binary.to_ternary()
    assert ternary.neurons == 2 * m
    assert set(np.unique(ternary.U)) <= {-1, 0, 1}
    assert (ternary.activation, ternary.polynomial) == ("polynomial", (1.0, 0.0, 0.0))
    X = rng.standard_normal((50, d))
    size = (np.abs(X).sum(axis=1) ** 2).max() * np.abs(alpha).sum()
    difference = np.abs(binary.decision_function(X) - ternary.decision_function(X)).max()
    assert difference <= 1e-15 * size
    # Whole numbers have no rounding: the two agree to the last bit.
    X, whole = rng.integers(-5, 6, size=(50, d)), np.rint(4 * alpha)
    binary = QuantizedNetwork(U, V, whole)
    assert np.array_equal(binary.decision_function(X), binary.to_ternary().decision_function(X))


def test_the_parent_judges_it():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((40, 5)), rng.standard_normal(40)
    problem = Problem(X, y, beta=0.2)
    trained = train(problem)
    ternary = trained.network.to_ternary()
    assert ternary.alpha.sum() == pytest.approx(0.0, abs=1e-12)
    assert np.abs(ternary.alpha).sum() == pytest.approx(2 * np.abs(trained.network.alpha).sum())
    with pytest.raises(InputError, match="has no objective in a problem of activation bilinear"):
        problem.objective(ternary)


def test_only_bilinear_binary_networks_have_a_ternary_twin():
    ones = np.ones((2, 1), dtype=np.int8)
    quadratic = QuantizedNetwork(
        ones, None, np.ones(1), activation="polynomial", polynomial=(1.0, 0.0, 0.0)
    )
    for network in (quadratic, QuantizedNetwork(3 * ones, ones, np.ones(1), alphabet="2")):
        with pytest.raises(InputError, match="needs a bilinear network with binary weights"):
            network.to_ternary()
