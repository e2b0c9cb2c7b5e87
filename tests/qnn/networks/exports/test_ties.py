"""Second layers on a grid over bits: who adds in whole numbers finds every score that is 0."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from qnn.features.preprocessing import FeatureLayout
from qnn.networks.alphabets import get_alphabet
from qnn.networks.exports import to_onnx
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.second_layers import SECOND_LAYERS, factored
from tests.qnn.networks.exports.test_c_header import build, outputs, to_csv
from tests.qnn.networks.exports.test_onnx import run as onnx_outputs

CUBE = np.array(list(product([-1, 1], repeat=8)))
ROWS = {f"x{j}": column.astype(float) for j, column in enumerate(CUBE.T)}
# a bilinear neuron on any alphabet; t and t^2 where weights are whole numbers
KINDS = [(None, "binary"), (None, "ternary"), (None, "3"), ((0.0, 1.0, 0.0), "binary"),
         ((1.0, 0.0, 0.0), "ternary")]  # fmt: skip


def steps_and_network(
    polynomial: tuple[float, ...] | None, alphabet: str, second_layer: str, classes: int, tied: bool
) -> tuple[np.ndarray, QuantizedNetwork]:
    """Whole numbers and the network of their multiples; `tied`: groups of neurons that cancel."""
    rng = np.random.default_rng(3)
    labels = np.array(list("abc"), dtype=object)[:classes]
    layout = FeatureLayout.from_table(ROWS, scaling="thermometer", thresholds=1)
    coding = layout.fit(ROWS, rng.choice(labels, len(CUBE)), tuple(labels))
    top, few = (1, [1, -1, 1, -1, 1, -1]) if second_layer == "common" else (
        127, [-127, 46, 81, -38, 22, 16]
    )  # fmt: skip
    steps = np.array(few if classes == 2 else [few, few[::-1], few]).T
    U, V = rng.choice(get_alphabet(alphabet).levels, (2, coding.layout.d, 6))
    if tied:
        same = [0, 0, 2, 2, 4, 4] if second_layer == "common" else [0, 0, 0, 3, 3, 3]
        U, V = U[:, same], V[:, same]
    kind, V = ("bilinear", V) if polynomial is None else ("polynomial", None)
    # Divided as rounding does: a step that is no power of two.
    network = QuantizedNetwork(
        U, V, steps * (0.37 / top), kind, alphabet, coding, polynomial=polynomial,
        second_layer=second_layer,
    )  # fmt: skip
    return steps, network


def whole(steps: np.ndarray, network: QuantizedNetwork) -> np.ndarray:
    """The scores in whole numbers."""
    assert network.preprocessing is not None
    X = network.preprocessing.transform(ROWS).astype(int)
    t = X @ network.U.astype(int)
    if network.V is not None:
        return np.asarray(t * (X @ network.V.astype(int)) @ steps)
    return np.asarray((t if network.polynomial == (0.0, 1.0, 0.0) else t**2) @ steps)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("second_layer", ["common", "8"])
@pytest.mark.parametrize(("polynomial", "alphabet"), KINDS)
def test_all_find_the_same_ties(
    polynomial: tuple[float, ...] | None, alphabet: str, second_layer: str, classes: int,
    tied: bool, tmp_path: Path,
) -> None:  # fmt: skip
    steps, network = steps_and_network(polynomial, alphabet, second_layer, classes, tied)
    truth = whole(steps, network)
    found = network.scores(ROWS)
    printed, labels = outputs(build(network, tmp_path), to_csv(ROWS))
    by_onnx, predicted = onnx_outputs(to_onnx(network), ROWS)
    for scores in (found, by_onnx) if classes == 3 else (found, by_onnx, printed):
        assert (np.sign(scores) == np.sign(truth)).all()
    best = np.where(truth > 0, 1, 0) if classes == 2 else truth.argmax(axis=1)
    expected = np.array(list("abc"))[best].tolist()
    assert [label.split()[-1] for label in labels] == expected
    assert predicted.tolist() == network.predict(ROWS).tolist() == expected
    assert not tied or not truth.any()


@pytest.mark.parametrize("name", SECOND_LAYERS)
@pytest.mark.parametrize("scale", [5e-324, 1e-300, 0.1, 1 / 3, 1e308])
@pytest.mark.parametrize("divisor", [1.0, 49.0])
def test_parts_times_the_factor_are_alpha(name: str | int, scale: float, divisor: float) -> None:
    rng = np.random.default_rng(0)
    top = SECOND_LAYERS[name] or 1
    steps = rng.integers(-top, top, (5, 3), endpoint=True)
    steps[0] = top
    alpha = np.minimum(scale, 1e308 / top) * steps
    parts, factors = factored(alpha, name, divisor)
    assert np.isfinite(parts).all()
    assert ((factors >= 1.0 / divisor) & (factors < 2.0 / divisor)).all()
    np.testing.assert_allclose(parts * factors, alpha / divisor, rtol=4e-16, atol=2e-323)
    if scale == 0.1:
        assert (parts / parts[0] * top == steps).all()


def test_numbers_that_are_on_no_grid_stay() -> None:
    alpha = np.array([0.5, -0.25, 2.0 + 1e-9])
    parts, factor = factored(alpha, "float", 1.0)
    assert (parts == alpha).all()
    assert factor == 1.0
    assert factored(np.zeros(0), "8", 1.0)[0].shape == (0,)
    near = np.array([1.0, 1.0 + 1e-12])
    assert (factored(near, "common", 1.0)[0] == near).all()
