import json
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.networks.exports import to_onnx
from qnn.networks.quantized import QuantizedNetwork
from tests.qnn.networks.exports.cases import (
    KINDS,
    SCALINGS,
    network,
    random_network,
    tolerance,
    unseen,
)


def run(model: bytes, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = session.get_modelmeta().custom_metadata_map
    if "columns" in names:
        feeds = {"X": rows}
    else:
        numbers = [rows[name] for name in json.loads(names["numbers"])]
        texts = [rows[name] for name in json.loads(names.get("categories", "[]"))]
        cells = [["" if text is None else text for text in column] for column in texts]
        feeds = {"numbers": np.column_stack(numbers), "categories": np.array(cells, object).T}
        feeds = {name: values for name, values in feeds.items() if name in names}
    score, prediction = session.run(["score", "prediction"], feeds)
    return score, prediction


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(("activation", "alphabet"), KINDS)
def test_onnxruntime_agrees(scaling: str, activation: str, alphabet: str) -> None:
    net = network(scaling, activation, alphabet)
    rows = unseen()
    score, prediction = run(to_onnx(net), rows)
    np.testing.assert_allclose(score, net.scores(rows), rtol=0, atol=tolerance(net, rows))
    assert prediction.tolist() == net.predict(rows).tolist()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_exact_sums_agree_to_the_last_bit(scaling: str) -> None:
    """Where all products and sums are exact, so are the outputs: thermometer bits."""
    net = network(scaling, alpha=np.array([0.5, -0.25, 2.0]))
    rows = unseen()
    score, _ = run(to_onnx(net), rows)
    if scaling.startswith("thermometer"):
        assert score.tobytes() == net.scores(rows).tobytes()
    else:
        np.testing.assert_allclose(score, net.scores(rows), rtol=0, atol=tolerance(net, rows))


@pytest.mark.parametrize(
    "classes", [None, (0, 1), (False, True), (0.5, 1.5), ("no", "ja"), (2, 0, 1)], ids=str
)
def test_predictions_have_the_type_of_the_labels(classes: Any) -> None:
    net = network("standardize", classes=classes)
    rows = unseen()
    _, prediction = run(to_onnx(net), rows)
    expected = net.predict(rows)
    if classes is None:
        np.testing.assert_allclose(prediction, expected, rtol=0, atol=3 * tolerance(net, rows))
    else:
        assert prediction.tolist() == expected.tolist()
        assert type(prediction.tolist()[0]) is type(classes[0])


@pytest.mark.parametrize(
    "options",
    [
        {"clip": 0.5},
        {"bias": False},
        {"bias": 32},
        {"bias": 32, "scaling": "thermometer"},
        {"missing": "refuse"},
        {"columns": ("count", "site")},
    ],
    ids=str,
)
def test_options_of_the_preprocessing(options: dict[str, Any]) -> None:
    net = network(**{"scaling": "standardize", **options})
    rows = {name: column[:2] for name, column in unseen().items()}
    score, _ = run(to_onnx(net), rows)
    np.testing.assert_allclose(score, net.scores(rows), rtol=0, atol=tolerance(net, rows))


@pytest.mark.parametrize("outputs", [None, 3])
def test_without_preprocessing_the_input_is_the_matrix(outputs: int | None) -> None:
    rng = np.random.default_rng(0)
    alpha = rng.standard_normal(4 if outputs is None else (4, outputs))
    net = random_network(6, "bilinear", "binary", alpha)
    X = rng.standard_normal((9, 6))
    score, prediction = run(to_onnx(net), X)
    np.testing.assert_allclose(score, net.decision_function(X), rtol=0, atol=tolerance(net, X))
    assert prediction.tobytes() == score.tobytes()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_class_is_that_of_the_largest_score(scaling: str) -> None:
    net = network(scaling, classes=("setosa", "naïve", "b,c", "d"))
    rows = unseen()
    score, prediction = run(to_onnx(net), rows)
    assert score.shape == (len(rows["count"]), 4)
    np.testing.assert_allclose(score, net.scores(rows), rtol=0, atol=tolerance(net, rows))
    assert prediction.tolist() == net.predict(rows).tolist()
    assert len(set(prediction)) > 1


def test_of_equal_scores_the_first_class_is_predicted() -> None:
    net = network("none", classes=("c", "a", "b"), alpha=np.zeros((0, 3)))
    _, prediction = run(to_onnx(net), unseen())
    assert set(prediction) == set(net.predict(unseen())) == {"c"}


def test_several_targets_are_predicted_in_their_units() -> None:
    net = network("standardize", classes=None, outputs=3)
    rows = unseen()
    score, prediction = run(to_onnx(net), rows)
    np.testing.assert_allclose(score, net.scores(rows), rtol=0, atol=tolerance(net, rows))
    np.testing.assert_allclose(prediction, net.predict(rows), rtol=0, atol=3 * tolerance(net, rows))


@pytest.mark.parametrize("missing", ["impute", "refuse"])
def test_categories_that_were_not_seen_are_counted_row_by_row(missing: str) -> None:
    columns = {
        "size": np.arange(6.0),
        "land": np.array(["CH", "DE", "CH", "NA", "DE", "NA"], dtype=object),
        "shop": np.array(list("xyzxyz"), dtype=object),
    }
    layout = FeatureLayout.from_table(columns, categorical=["land", "shop"], missing=missing)
    prepared = layout.fit(columns, np.array(list("ababab")), ["a", "b"])
    alpha = np.array([0.3, -0.1])
    net = random_network(layout.d, "bilinear", "binary", alpha, prepared)
    lands, shops = ["CH", "NA", "FR", "ch", "", "n/a"], ["x", "w", "W", "", "y ", "z"]
    session = onnxruntime.InferenceSession(to_onnx(net))
    fed = {"numbers": np.zeros((6, 1)), "categories": np.array([lands, shops], object).T}
    counted = session.run(["unseen"], fed)[0]
    assert counted.tolist() == [0, 1, 2, 1, 1, 0]
    if missing == "impute":
        rows = {"size": np.zeros(6), "land": lands, "shop": shops}
        assert layout.unseen(rows) == {"land": 2, "shop": 3}


def test_without_categories_nothing_is_counted() -> None:
    net = network("standardize", classes=None)
    numbers = {"a": np.arange(5.0), "b": np.arange(5.0) % 3}
    layout = FeatureLayout.from_table(numbers)
    prepared = layout.fit(numbers, np.arange(5.0))
    plain = random_network(layout.d, "bilinear", "binary", np.ones(2), prepared)
    for one, outputs in ((net, 3), (plain, 2)):
        session = onnxruntime.InferenceSession(to_onnx(one))
        assert len(session.get_outputs()) == outputs


def test_the_network_without_neurons_says_0() -> None:
    net = network("thermometer", alpha=np.zeros(0))
    score, prediction = run(to_onnx(net), unseen())
    assert not score.any()
    assert set(prediction) == {"no"}


def test_the_model_is_small_current_and_the_same_each_time() -> None:
    net = network("thermometer")
    model = onnx.load_from_string(to_onnx(net))
    assert model.opset_import[0].version == 28
    weights = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert {tuple(t.dims) for t in weights} == {net.U.shape}
    assert to_onnx(net) == to_onnx(net)


def test_what_it_cannot_express_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = network("none", classes=("no", 1))
    assert run(to_onnx(mixed), unseen())[1].tolist() == mixed.predict(unseen()).tolist()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"^the package onnx is not installed: pip install"):
        to_onnx(QuantizedNetwork(np.ones((2, 1)), np.ones((2, 1)), np.ones(1)))
