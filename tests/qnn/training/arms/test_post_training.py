"""Float networks quantized after training, as arms: their files, sizes, rows, the zero network."""

from typing import Any

import numpy as np
import onnxruntime
import pytest

from qnn.training.arms import post_training
from qnn.training.arms.post_training import quantized, relu_model, squares_model
from qnn.training.arms.quantized_spectrahedra import QuantizedSquares, quantized_spectrahedra
from qnn.training.arms.references.float_mlp import float_mlp
from qnn.training.arms.references.quantized_mlp import quantized_mlp
from qnn.training.arms.spectrahedra import spectrahedra
from qnn.training.problems.problem import Problem

Array = np.ndarray


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnn.training.arms.references.float_mlp.STEPS", 200)


def data(n: int = 160, d: int = 6) -> tuple[Array, Array]:
    """Rows with a constant column, as a sweep's bias gives, and signs."""
    rng = np.random.default_rng(0)
    X = np.c_[rng.standard_normal((n, d - 1)), np.ones(n)]
    return X, np.where(X[:, 0] * X[:, 1] > 0.0, 1.0, -1.0)


def by_onnxruntime(model: Any, X: Array) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.asarray(session.run(None, {"x": X.astype(np.float32)})[0], dtype=np.float64)


def test_the_models_are_the_float_networks() -> None:
    X, y = data()
    mlp = float_mlp(X, y, 0).network
    found = by_onnxruntime(relu_model(mlp.weights, mlp.biases), X)
    assert found == pytest.approx(mlp.scores(X.astype(np.float32)), abs=1e-4)
    squares = spectrahedra(Problem(X, y, beta=1.0), 1.0)
    found = by_onnxruntime(squares_model(squares.R, squares.signs), X)[:, 0]
    assert found == pytest.approx(squares.decision_function(X), abs=1e-4)


def test_the_files_are_the_arms_and_small() -> None:
    X, y = data()
    mlp, few = float_mlp(X, y, 3), quantized_mlp(X, y, 3)
    file = few.network.made.model
    assert few.size_in_bytes == len(file.SerializeToString()) < 0.5 * mlp.size_in_bytes
    right = np.array([-1.0, 1.0])[by_onnxruntime(file, X).argmax(axis=1)]
    assert np.mean(right == few.predict(X)) > 0.98
    assert np.mean(few.predict(X) == mlp.predict(X)) > 0.9
    assert few.decision_function(X).shape == (160,)
    problem = Problem(X, y, beta=1.0)
    squares = quantized_spectrahedra(problem, 1.0)
    assert squares.network is not None
    scores = by_onnxruntime(squares.network.made.model, X)[:, 0]
    assert np.abs(scores - squares.decision_function(X)).mean() < 1e-2
    loss = problem.loss.value(squares.decision_function(X), y)
    assert squares.loss_value == loss
    floats = spectrahedra(problem, 1.0)
    assert squares.neurons == len(floats.signs)
    assert squares.loss_value < 1.2 * floats.loss_value < problem.loss.value(np.zeros(160), y)


def test_more_than_two_classes() -> None:
    X, _ = data()
    labels = np.digitize(X[:, 0], [-0.5, 0.5])
    few = quantized_mlp(X, labels, 0)
    assert few.decision_function(X).shape == (160, 3)
    assert np.mean(few.predict(X) == labels) > 0.8


def test_the_calibration_sees_training_rows_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[Array, dict[str, Any]]] = []

    def quantize(model: Any, rows: Array, budget: float, **more: Any) -> None:
        seen.append((rows, more))

    monkeypatch.setattr(post_training, "quantize", quantize)
    X = np.random.default_rng(1).standard_normal((1500, 3))
    quantized(None, X, 5)
    ((rows, more),) = seen
    assert rows.shape == (1024, 3)
    assert {tuple(row) for row in rows} <= {tuple(row) for row in X}
    assert set(more) == {"certify", "seed"}


def test_the_zero_network_and_few_rows() -> None:
    X, y = data()
    nothing = QuantizedSquares(None, 0, 0.0)
    assert nothing.size_in_bytes == 0
    assert (nothing.decision_function(X) == 0.0).all()
    least = quantized_spectrahedra(Problem(X, y, beta=1e6), 0.5)
    assert np.abs(least.decision_function(X)).max() < 1e-3
    few = quantized_mlp(X[:5], np.array([1.0, -1, 1, -1, 1]), 0)
    assert few.predict(X[:5]).shape == (5,)
