import json
from typing import Any

import numpy as np
import pytest

from qnn.features.preprocessing import Preprocessing
from qnn.networks.exports import to_json
from tests.qnn.networks.exports.cases import KINDS, network, table


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c")], ids=str)
@pytest.mark.parametrize(("activation", "alphabet"), KINDS)
def test_the_formula_in_the_file_gives_the_scores(
    activation: str, alphabet: str, classes: tuple[str, ...]
) -> None:
    net = network("thermometer", activation, alphabet, classes)
    record: dict[str, Any] = json.loads(to_json(net))
    X = Preprocessing.from_json(json.dumps(record["preprocessing"])).transform(table())
    scores = np.zeros((len(X), *net.alpha.shape[1:]))
    for j in range(record["neurons"]):
        t = X @ (np.array(record["U"][j]) / record["divisor"])
        if record["V"] is None:
            a, b, c = record["polynomial"]
            hidden = a * t * t + b * t + c
        else:
            hidden = t * (X @ (np.array(record["V"][j]) / record["divisor"]))
        scores += np.multiply.outer(hidden, record["alpha"][j])
    np.testing.assert_allclose(scores, net.scores(table()), rtol=0, atol=1e-10)


def test_weights_stand_there_as_the_integers_they_are() -> None:
    net = network("standardize")
    text = to_json(net)
    record = json.loads(text)
    assert np.array(record["U"]).tolist() == net.U.T.tolist()
    assert record["alpha"] == net.alpha.tolist()
    assert (record["loss"], record["beta"], record["d"]) == ("squared", 1.5, net.d)
    # One neuron a line.
    assert sum(line.startswith("  [") for line in text.splitlines()) == 2 * net.neurons


def test_no_neurons_and_no_preprocessing() -> None:
    empty = network("none", alpha=np.zeros(0))
    assert json.loads(to_json(empty))["U"] == []
