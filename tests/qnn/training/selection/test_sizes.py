"""`max_bytes`: the best of the networks that fit, as they are written."""

import numpy as np
import pytest

from qnn import QuantizedClassifier
from qnn.errors import InputError
from qnn.networks.packing import most_bytes
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.selection import Wanted, choose


@pytest.mark.parametrize("second_layer", ["float", "common", "8", "3"])
@pytest.mark.parametrize("outputs", [1, 3, 40])
@pytest.mark.parametrize("bilinear", [True, False])
def test_no_network_takes_more_than_is_said(second_layer, outputs, bilinear):
    rng = np.random.default_rng(outputs)
    for _ in range(40):
        d, width = int(rng.integers(1, 40)), int(rng.integers(1, 9))
        neurons = int(rng.integers(0, width * outputs + 1))
        # Each output has at most `width` neurons, shared or not.
        alpha = np.zeros((neurons, outputs))
        for column in alpha.T:
            used = rng.permutation(neurons)[: rng.integers(0, width + 1)]
            column[used] = rng.integers(-3, 4, len(used))
        alpha = np.sign(alpha) if second_layer == "common" else alpha
        alpha = 0.25 * (alpha if outputs > 1 else alpha[:, 0][np.abs(alpha[:, 0]) > 0.0])
        U, V = rng.choice([-1, 1], (2, d, len(alpha)))
        polynomial = None if bilinear else (0.0, 1.0, 0.0)
        network = QuantizedNetwork(
            U, V if bilinear else None, alpha, "bilinear" if bilinear else "polynomial",
            polynomial=polynomial, second_layer=second_layer,
        )  # fmt: skip
        most = most_bytes(width, outputs, (1 + bilinear) * d, second_layer)
        # The network that says 0 on a grid of numbers: its map, no scalar.
        assert network.size_in_bytes <= most


def blobs(n=90, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = 2.0 * rng.normal(size=(classes, 5))
    return centres[y] + rng.normal(size=(n, 5)), y


@pytest.mark.parametrize("most", [60, 110, 400])
def test_the_network_that_is_written_fits(most):
    X, y = blobs()
    model = QuantizedClassifier(
        max_bytes=most, beta_fraction=0.02, activation="bilinear", calibration=None, random_state=0
    ).fit(X, y)
    network = QuantizedNetwork.from_bytes(model.network_.to_bytes())
    taken = network.size_in_bytes + network.preprocessing.bytes_of_numbers
    assert taken <= most
    assert model.score(X, y) > 0.6


def test_the_best_that_fits_is_chosen_and_nothing_else_is_trained():
    X, y = blobs()
    wanted = Wanted(
        beta_fraction=0.02, activation="bilinear", multi_class="one_vs_rest", max_bytes=90,
        layout=(("columns", None),),
    )  # fmt: skip
    choice = choose(X, y, [0, 1, 2], wanted)
    best = max(choice.cells, key=lambda cell: cell.merit)
    assert (choice.kind, choice.width) == (best.kind, best.width)
    assert all(cell.size_in_bytes <= 90 for cell in choice.cells)
    assert len({cell.width for cell in choice.cells}) > 1


def test_the_network_of_weighted_rows_fits_with_what_its_own_statistics_take():
    # Weighted, the scaling of the second column takes 16 bits, of equal rows 8.
    rng = np.random.default_rng(13)
    X = rng.normal(size=(60, 3)) + rng.uniform(2.0, 40.0, 3)
    X[:, 0] = np.exp(2.0 * rng.normal(size=60))
    y = X[:, 1] - X[:, 1].mean() + 0.5 * rng.normal(size=60) > 0.0
    model = QuantizedClassifier(
        max_bytes=18, beta_fraction=0.03, activation="bilinear", calibration=None, random_state=0
    ).fit(X, y, sample_weight=rng.exponential(size=60) ** 2 + 0.01)
    network = QuantizedNetwork.from_bytes(model.network_.to_bytes())
    assert network.size_in_bytes + network.preprocessing.bytes_of_numbers <= 18


def test_a_width_that_is_given_is_narrowed_to_what_fits():
    X, y = blobs()
    model = QuantizedClassifier(
        scaling="standardize", loss="logistic", width=50, second_layer=8, max_bytes=250,
        calibration=None, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert model.choice_.width < 50
    network = model.network_
    assert network.size_in_bytes + network.preprocessing.bytes_of_numbers <= 250


@pytest.mark.parametrize("most", [0, -5, 2.5, "many", True])
def test_what_is_no_number_of_bytes_is_refused(most):
    with pytest.raises(InputError, match="max_bytes must be"):
        Wanted(max_bytes=most)


def test_fewer_bytes_than_the_smallest_network_are_refused():
    X, y = blobs()
    with pytest.raises(InputError, match=r"max_bytes is 9, but the smallest .* take \d+ bytes"):
        QuantizedClassifier(max_bytes=9).fit(X, y)
