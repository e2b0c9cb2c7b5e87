"""Networks that tell classes in pairs say the same in Python, C, ONNX and JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from qnn.certificates.robustness.regions import region_of
from qnn.errors import CertificateError, InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.networks.exports import to_onnx
from qnn.networks.exports.json import to_json
from qnn.networks.packing import packed_second_layer
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.stacks import single_output
from qnn.robustness import certify
from qnn.robustness.threat import Rows, Threat
from tests.qnn.networks.exports.cases import random_network, table, target
from tests.qnn.networks.exports.test_c_header import build, several, to_csv
from tests.qnn.networks.exports.test_onnx import run as onnx_outputs

CLASSES = ("low", "mid", "high", "top")


def paired(scaling: str, zeros: bool = False) -> QuantizedNetwork:
    columns, labels = table(gaps=False), target(CLASSES)
    layout = FeatureLayout.from_table(columns, scaling=scaling)
    preprocessing = layout.fit(columns, labels, CLASSES).coded("one_vs_one")
    alpha = np.random.default_rng(3).normal(size=(5, 6))
    alpha[np.abs(alpha) < 0.4] = 0.0
    alpha = 0.0 * alpha if zeros else alpha
    d = len(preprocessing.feature_names)
    return random_network(d, "bilinear", "binary", alpha, preprocessing)


@pytest.mark.parametrize("scaling", ["standardize", "thermometer"])
@pytest.mark.parametrize("zeros", [False, True])
def test_c_and_onnx_tell_the_same_class(scaling, zeros, tmp_path):
    network, rows = paired(scaling, zeros), table(gaps=False)
    predicted = network.predict(rows)
    assert len(set(predicted)) == (1 if zeros else 4)
    scores, labels = several(build(network, tmp_path), to_csv(rows), 6)
    assert labels == predicted.tolist()
    assert np.allclose(scores, network.scores(rows))
    score, prediction = onnx_outputs(to_onnx(network), rows)
    assert prediction.tolist() == predicted.tolist()
    assert np.allclose(score, network.scores(rows))


def test_json_says_how_outputs_tell_a_class():
    network = paired("standardize")
    record = json.loads(to_json(network))
    assert "loses by" in record["decision"]
    assert record["preprocessing"]["target"]["pairs"]


def test_entries_are_listed_where_that_is_smaller_than_a_map():
    alpha = np.zeros((20, 50))
    alpha[np.arange(20), np.arange(20)] = np.arange(1.0, 21.0)
    alpha[1:, 0] = 0.5
    count, outputs = int((alpha != 0.0).sum()), int((alpha != 0.0).any(axis=0).sum())
    assert packed_second_layer(alpha, "8", True) == (outputs, 1000 + 8 * count)
    assert packed_second_layer(alpha, "8", True, listed=True) == (outputs, 7 * count + 8 * count)
    # Where most entries are used the map is smaller, and stays.
    dense = np.random.default_rng(0).normal(size=(20, 6))
    dense[0, 0] = 0.0
    plain = packed_second_layer(dense, "8", True)
    assert packed_second_layer(dense, "8", True, listed=True) == plain


def test_robustness_is_refused_of_the_whole_and_asked_of_one_pair():
    network = paired("standardize")
    row = {name: column[0] for name, column in table(gaps=False).items()}
    with pytest.raises(InputError, match="one_vs_rest"):
        certify(network, row, 0.1)
    pair = single_output(network, "low / top")
    assert set(pair.predict(table(gaps=False))) <= {"low", "top"}
    assert certify(pair, row, 0.0).verdict


def test_the_checker_refuses_what_is_said_of_a_pairs_score():
    network, columns = paired("standardize"), table(gaps=False)
    rest = replace(
        network,
        alpha=network.alpha[:, :4],
        preprocessing=network.preprocessing.coded("one_vs_rest"),
    )
    row = {name: column[0] for name, column in columns.items()}
    question = Rows(rest).question(row, Threat(0.0), "low")
    region_of(question, rest.preprocessing.to_json(), rest.d)
    with pytest.raises(CertificateError, match="in pairs"):
        region_of(question, network.preprocessing.to_json(), rest.d)
